"""RLTrainer: train, evaluate, save and restore a population."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, LEARNER_RESULTS

from market.community.scenario import Scenario
from market.envs.vector import MarketVectorEnv
from market.rl import checkpoint
from market.rl.algorithms.registry import ALGORITHMS
from market.rl.algorithms.run import Run
from market.rl.hyperparameters import SETTINGS, Hyperparameters, RLAlgorithm
from market.rl.modes import TrainingMode
from market.rl.networks.modules import PopulationActor
from market.rl.results import MARKET, EvaluationResult, IterationRecord, SetUp, TrainingResult, mean_of_numbers
from market.rl.rllib import quiet_rllib, without_object_store
from market.rl.sampling.policy import Policy, agent_policy, checked, population_policy, rollout
from market.rl.scopes import Stream, derive, torch_threads
from market.rl.session import ray_session
from market.support import check
from market.support.allocator import keep_freed_memory
from market.support.phases import combined


class RLTrainer:
    """Trains one population with one algorithm in one mode. Use it as a context manager, or call `close`.

    env_config: a Scenario, or a dictionary that `Scenario.of` reads.
    algorithm, training: members of the enumerations, or their names.
    iters: iterations of a call of `train`.
    episodes_per_iteration: whole episodes sampled for each of them.
    cpus: torch threads of a learner.
    gpus: GPUs per learner, 0 or 1.
    seed: of weights, exploration, episodes and minibatches.
    num_env_runners, num_learners: Ray actors for sampling and learning; 0 keeps that part in this process, and with
        both 0 no Ray is started.
    ray_address: of a running cluster to use.
    hyperparameters: of the algorithm; None takes the study's defaults.
    """

    _make_env: Callable[[Any, int], Any] = MarketVectorEnv  # called in this process and in Ray's actors

    @staticmethod
    def _make_scenario(env_config: Any) -> Any:
        check.instance("env_config", env_config, Scenario, Mapping, allowed="a Scenario or a dictionary of its fields")
        return Scenario.of(env_config)

    def __init__(
        self,
        env_config: Any,
        algorithm: RLAlgorithm | str,
        training: TrainingMode | str,
        iters: int,
        episodes_per_iteration: int = 20,
        cpus: int = 1,
        gpus: int = 0,
        seed: int = 42,
        num_env_runners: int = 0,
        num_learners: int = 0,
        ray_address: str | None = None,
        hyperparameters: Hyperparameters | None = None,
    ) -> None:
        self.algorithm = check.choose(RLAlgorithm, algorithm, "algorithm")
        self.training = check.choose(TrainingMode, training, "training")
        kind = SETTINGS[self.algorithm]
        self.hyperparameters = kind() if hyperparameters is None else hyperparameters
        if type(self.hyperparameters) is not kind:
            raise ValueError(f"hyperparameters: got {check.shown(hyperparameters)}; allowed: {kind.__name__} or None")
        self.scenario = self._make_scenario(env_config)
        self.iters = iters
        self._run = Run(
            make_env=self._make_env,
            env_config=self.scenario,
            algorithm=self.algorithm,
            training=self.training,
            iters=iters,
            episodes_per_iteration=episodes_per_iteration,
            cpus=cpus,
            gpus=gpus,
            seed=seed,
            num_env_runners=num_env_runners,
            num_learners=num_learners,
            ray_address=ray_address,
            hyperparameters=self.hyperparameters,
        )
        self._iteration = 0
        with ExitStack() as stack:
            self.set_up = self._build(stack)
            self._resources = stack.pop_all()

    def _build(self, stack: ExitStack) -> SetUp:
        keep_freed_memory()
        run, ray_seconds = self._run, 0.0
        with quiet_rllib():
            config = ALGORITHMS[self.algorithm](run, self.hyperparameters)
        if run.num_env_runners or run.num_learners or run.ray_address is not None:
            logical_cpus = run.num_env_runners + run.num_learners * run.cpus
            ray_seconds = stack.enter_context(ray_session(run.ray_address, max(1, logical_cpus)))
        start = time.perf_counter()
        with torch_threads(run.cpus), quiet_rllib():
            self._built: Any = config.build_algo(use_copy=False)
        stack.callback(self._built.stop)
        self.device = self._each_learner(lambda learner: str(learner.device))[0]
        return SetUp(ray_seconds=ray_seconds, build_seconds=time.perf_counter() - start)

    @property
    def _algorithm(self) -> Any:
        """RLlib's algorithm."""
        if self._built is None:
            raise ValueError("trainer: got a call after close; allowed: before it, or after RLTrainer.restore")
        return self._built

    @property
    def module(self) -> PopulationActor:
        """The actor that plays in this process, with the newest weights."""
        return self._algorithm.newest_actor()

    @property
    def num_agents(self) -> int:
        return int(self._algorithm.env_runner.module.observation_space.shape[0])

    def train_iteration(self) -> IterationRecord:
        """Sample `episodes_per_iteration` episodes and learn from them, once."""
        start = time.perf_counter()
        with torch_threads(self._run.cpus):
            result = self._algorithm.train()
        total = time.perf_counter() - start
        found = result[ENV_RUNNER_RESULTS][MARKET]
        samples: list[dict[str, Any]] = found if isinstance(found, list) else [found]  # RLlib unpacks a list of one
        learned = result[LEARNER_RESULTS][DEFAULT_MODULE_ID][MARKET]
        sampling = max(sample["sampling_seconds"] for sample in samples)
        learning, env_steps = float(learned["learning_seconds"]), sum(sample["env_steps"] for sample in samples)
        kpis = ((name, np.array([sample["kpis"][name] for sample in samples])) for name in samples[0]["kpis"])
        record = IterationRecord(
            iteration=self._iteration,
            sampling_seconds=sampling,
            learning_seconds=learning,
            other_seconds=total - sampling - learning,
            total_seconds=total,
            return_mean=float(np.mean([sample["return_mean"] for sample in samples])),
            kpis={name: mean_of_numbers(values) for name, values in kpis},
            env_steps=env_steps,
            agent_steps=env_steps * self.num_agents,
            gradient_steps=int(learned["gradient_steps"]),
            skipped_updates=int(learned["skipped_updates"]),
            losses={name: float(value) for name, value in learned["losses"].items()},
            phases=combined(
                total,
                *((sample["phases"], 1 / max(1, self._run.num_env_runners)) for sample in samples),
                (learned.get("phases", {}), 1 / max(1, self._run.num_learners)),
            ),
        )
        self._iteration += 1
        return record

    def train(self) -> TrainingResult:
        """`iters` more iterations."""
        records = tuple(self.train_iteration() for _ in range(self.iters))
        return TrainingResult(
            algorithm=self.algorithm,
            training=self.training,
            num_agents=self.num_agents,
            seed=self._run.seed,
            threads=self._run.cpus,
            device=self.device,
            hyperparameters=self.hyperparameters,
            set_up=self.set_up,
            iterations=records,
        )

    def evaluate(self, episodes: int = 10, scenario: Any = None) -> EvaluationResult:
        """Play the deterministic policy, on episodes that depend on the seed alone, so that evaluations compare.

        scenario: another one to play, as `env_config`, with agents that see and do as much. None plays that of training
            on its held-out days (`Scenario.unseen`), if it has some; `trainer.scenario` plays the days of training.
        """
        played_on = self.scenario.unseen if scenario is None else self._make_scenario(scenario)
        env = self._make_env(played_on, check.whole("episodes", episodes))
        got = (env.single_observation_space.shape, env.single_action_space.shape)
        allowed = (self.module.observation_space.shape, self.module.action_space.shape)
        if got != allowed:
            env.close()
            raise ValueError(
                f"scenario: got observations and actions of shapes {got}; allowed: {allowed}, as in training"
            )
        with torch_threads(self._run.cpus):
            played = rollout(env, self.module.player, seed=derive(self._run.seed, Stream.EVALUATE), explore=False)
        kpis = {name: values.copy() for name, values in env.kpis().items()}
        env.close()
        return EvaluationResult(returns=played.rewards.sum(1), agent_returns=played.agent_rewards.sum(1), kpis=kpis)

    def policy(self) -> Policy:
        """Observations [E, N, obs] -> the most likely actions [E, N, act]; follows further training."""
        return checked(population_policy(self.module.player), self.module.observation_space.shape)

    def agent_policy(self, agent: int) -> Policy:
        """One agent's observations [E, obs] -> its most likely actions [E, act]; a copy of its present weights."""
        return checked(agent_policy(self.module.player, agent), self.module.observation_space.shape[1:])

    def save(self, path: str | Path, training: bool = True) -> None:
        """Write the trained policy to one file, in one piece or not at all; `market.rl.load_policy` plays it.

        training: and everything that training needs to go on identically, for `restore`; else nothing but the policy.
        """
        facts: dict[str, Any] = {"policy": self._algorithm.env_runner.module.design}
        parts = enumerate(self._each_learner(lambda learner: learner.snapshot()))
        arrays = {f"{index}/{name}": x for index, part in parts for name, x in part.items()}
        if training:
            own = (field.name for field in fields(self._run) if field.name not in ("make_env", "ray_address"))
            facts |= {"arguments": {name: getattr(self._run, name) for name in own}, "iteration": self._iteration}
        else:
            arrays = {name: x for name, x in arrays.items() if name.startswith(checkpoint.ACTOR)}
        checkpoint.write(path, facts, arrays)

    @classmethod
    def restore(cls, path: str | Path, ray_address: str | None = None) -> Self:
        """A trainer as it was saved. ValueError in one line for any other file, and for one that was changed since.

        ray_address: of a running cluster to use; a file does not say where to connect to.
        """
        with ExitStack() as undo, checkpoint.opened(path) as (facts, arrays):
            if "arguments" not in facts:
                raise ValueError(f"path: got {str(path)!r}, a policy alone; allowed: one saved with its training")
            trainer = cls(**facts["arguments"], ray_address=ray_address)
            undo.callback(trainer.close)
            trainer._load(facts["iteration"], arrays)
            undo.pop_all()
            return trainer

    def _load(self, iteration: int, arrays: dict[str, Any]) -> None:
        """Take over what each learner had, and give the weights to all env runners."""
        self._iteration = iteration

        def take_over(learner: Any) -> None:
            own = f"{learner.index}/"
            learner.take_over({name.removeprefix(own): x for name, x in arrays.items() if name.startswith(own)})

        self._each_learner(take_over)
        with without_object_store():
            self._algorithm.env_runner_group.sync_weights(
                from_worker_or_learner_group=self._algorithm.learner_group, timeout_seconds=None, inference_only=True
            )

    def _each_learner(self, ask: Callable[[Any], Any]) -> list[Any]:
        """What `ask` returns for each learner, in their order."""
        return [answer.get() for answer in self._algorithm.learner_group.foreach_learner(ask)]

    def close(self) -> None:
        """Stop the algorithm, and Ray if this was the last user of one that we started. Harmless when called again."""
        self._resources.close()
        self._built = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
