"""Playing a trained population: actions from observations. It needs torch, and neither ray nor gymnasium.

Shapes: E episodes, T steps, N agents, obs and act numbers per agent.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from market.constants import AGENT_REWARDS
from market.rl.checkpoint import ACTOR, opened
from market.rl.networks.stacked import Actor, StackedMLP
from market.support import check
from market.support.phases import phase

FloatArray = NDArray[np.float32]
Policy = Callable[[FloatArray], FloatArray]


def load_policy(path: str | Path, agent: int | None = None) -> Policy:
    """The policy in a file that `RLTrainer.save` wrote, without ray: float32 observations -> the most likely actions.

    path: of the file.
    agent: None for all N agents, [E, N, obs] -> [E, N, act]; else the number of one that acts on its own observations
        alone, [E, obs] -> [E, act], where each agent has its own actor.

    ValueError in one line for any other file, one that was changed, an agent that cannot act alone, and observations
    of another shape.
    """
    with opened(path) as (facts, arrays), torch.random.fork_rng(devices=[]):
        actor = Actor.drawn(**facts["policy"])
        kept = {name.removeprefix(ACTOR): torch.from_numpy(x) for name, x in arrays.items() if name.startswith(ACTOR)}
        actor.network.load_state_dict(kept)
    shape = tuple(facts["policy"]["shape"][:2])
    if agent is None:
        return checked(population_policy(actor), shape)
    return checked(agent_policy(actor, agent), shape[1:])


def population_policy(actor: Actor) -> Policy:
    """Observations [E, N, obs] -> the most likely actions [E, N, act]."""

    @torch.no_grad()
    def policy(observation: FloatArray) -> FloatArray:
        return actor.distribution.from_logits(actor.logits(observation)).most_likely().cpu().numpy()

    return policy


def agent_policy(actor: Actor, agent: int) -> Policy:
    """One agent's own observations [E, obs] -> its most likely actions [E, act]: decentralised execution.

    The function holds copies of this agent's weights and nothing of the others.
    """
    network: Any = copy.deepcopy(actor.network)
    means = getattr(network, "network", network)
    if not isinstance(means, StackedMLP):
        raise ValueError(f"agent_policy: got agent {agent} of a joint actor; allowed: modes with an actor per agent")
    check.whole("agent", agent, 0, means.owners - 1)
    for p in network.parameters():
        p.data = p.data[agent : agent + 1].clone()
    own = population_policy(Actor(network, actor.distribution))
    return lambda observation: own(observation[:, None])[:, 0]


def checked(policy: Policy, shape: tuple[int, ...]) -> Policy:
    """`policy` for observations [E, *shape] that are refused in one line where they are something else."""
    return lambda seen: policy(check.array("observation", seen, ("E", *shape)).astype(np.float32))


@dataclass(frozen=True)
class Rollout:
    """E whole episodes of T steps, as RLlib takes them: it asks how long they are, and to share them out to learners.

    observations: [E, T + 1, N, obs].
    actions: as drawn, before they are clipped to the action space, [E, T, N, act].
    rewards, agent_rewards: of the team [E, T], and each agent's own [E, T, N].
    terminated: whether an episode ended for good, [E].
    action_logp: log-probabilities of the actions, [E, T, N].
    action_dist_inputs: parameters of the actions' distributions, [E, T, N, 2 act].
    """

    observations: FloatArray
    actions: FloatArray
    rewards: NDArray[np.float64]
    agent_rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    action_logp: FloatArray
    action_dist_inputs: FloatArray

    @property
    def length(self) -> int:
        """Steps of an episode, T."""
        return self.rewards.shape[1]

    def __len__(self) -> int:
        """Env-steps of all episodes, E x T."""
        return self.rewards.size

    def slice(self, steps: Any, len_lookback_buffer: int | None = None) -> Rollout:
        """The whole episodes that a slice of the env-steps holds. len_lookback_buffer: of RLlib's, which has no use."""
        start, stop, _ = steps.indices(len(self))
        if start % self.length or stop % self.length:
            raise ValueError(f"steps: got {start} to {stop}; allowed: multiples of {self.length}, whole episodes")
        return Rollout(*(x[start // self.length : stop // self.length] for x in vars(self).values()))

    __getitem__ = slice  # noqa: A003


@torch.inference_mode()
def rollout(env: Any, actor: Actor, *, seed: int, explore: bool) -> Rollout:
    """Play E parallel episodes to their common end; Python's work per step does not grow with E or N.

    env: a `MarketVectorEnv` of E episodes, or what has its `reset`, `step`, `kpis`, `close` and single spaces; all
        episodes end at the same step.
    seed: of the episodes.
    explore: draw actions, instead of playing the most likely ones.
    """
    low, high = env.single_action_space.low, env.single_action_space.high
    with phase("environment"):
        observation, _ = env.reset(seed=seed)
    observations, steps = [observation], []
    done = np.zeros(env.num_envs, bool)
    while not done.any():
        with phase("policy"):
            logits = actor.logits(observation)
            distribution = actor.distribution.from_logits(logits)
            action = distribution.draw() if explore else distribution.most_likely()
            played = np.minimum(np.maximum(action.cpu().numpy(), low), high)
        with phase("environment"):
            observation, reward, terminated, truncated, info = env.step(played)
        observations.append(observation)
        steps.append((action, logits, reward, info[AGENT_REWARDS]))
        done = terminated | truncated
    with phase("batch"):
        all_actions, all_logits, rewards, agent_rewards = zip(*steps, strict=True)
        actions, logits = torch.stack(all_actions, 1), torch.stack(all_logits, 1)
        return Rollout(
            observations=np.stack(observations, 1, dtype=np.float32),
            actions=actions.cpu().numpy(),
            rewards=np.stack(rewards, 1, dtype=np.float64),
            agent_rewards=np.stack(agent_rewards, 1, dtype=np.float64),
            terminated=np.array(terminated, bool),
            action_logp=actor.distribution.from_logits(logits).logp(actions).cpu().numpy(),
            action_dist_inputs=logits.cpu().numpy(),
        )
