"""Checkpoints: no change goes unnoticed, no file runs code, and a policy plays where there is no ray."""

from __future__ import annotations

import io
import itertools
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market import GridNetwork, MarketConfig, RLTrainer, Scenario
from market.community.synthetic import DERProfileHandler, DSOProfileHandler
from market.rl import MODES, checkpoint, load_policy
from market.rl.algorithms.registry import ALGORITHMS
from market.rl.hyperparameters import RLAlgorithm
from rl_support import SMALL, TargetTrainer, make_trainer

READERS: list[Callable[[Path], Any]] = [RLTrainer.restore, load_policy]
ONE_LINE = r"^path: got [^\n]*; allowed: [^\n]*$"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAC's has most parts: three networks' moments, temperatures and a replay buffer."""
    path = tmp_path_factory.mktemp("checkpoint") / "sac"
    with make_trainer(algorithm=RLAlgorithm.SAC) as trainer:
        trainer.train()
        trainer.save(path)
    return path


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (pickle.dumps({"format": 3}, protocol=5), "a pickle of an older version"),
        (b"no checkpoint", "which is another or was changed"),
        (b"", "which is another or was changed"),
    ],
)
def test_other_files_are_refused(read: Callable[[Path], Any], content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=ONE_LINE) as error:
        read(path)
    assert what in str(error.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data())
def test_any_flipped_bit_is_noticed(kept: Path, tmp_path: Path, data: st.DataObject) -> None:
    written = bytearray(kept.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(written) - 1))
    written[bit // 8] ^= 1 << bit % 8
    (path := tmp_path / "flipped").write_bytes(written)
    for read in READERS:
        with pytest.raises(ValueError, match=ONE_LINE):
            read(path)


@pytest.mark.slow  # each of some 200,000 bits
def test_every_flipped_bit_is_noticed(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, and every cut; reading is all in memory, and no flip gets past the checksum to a reader."""
    written = kept.read_bytes()
    flipped = bytearray(written)
    monkeypatch.setattr(Path, "read_bytes", lambda path: bytes(flipped))
    for byte in range(len(written)):
        for bit in range(8) if byte < 2_000 or byte % 16 == 0 else (byte % 8,):
            flipped[byte] ^= 1 << bit
            with pytest.raises(ValueError, match=ONE_LINE), checkpoint.opened(kept):
                pass
            flipped[byte] ^= 1 << bit
    for length in range(0, len(written), 97):
        flipped = bytearray(written[:length])
        with pytest.raises(ValueError, match=ONE_LINE), checkpoint.opened(kept):
            pass


def parts_of(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    text, packed = path.read_bytes().split(b"\n", 2)[1:]
    return json.loads(text), dict(np.load(io.BytesIO(packed)))


def sealed(path: Path, facts: Any, arrays: dict[str, np.ndarray]) -> Path:
    """A file with a right checksum and whatever content."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    body = json.dumps(facts).encode() + b"\n" + buffer.getvalue()
    path.write_bytes(checkpoint._seal(body) + body)
    return path


def places(facts: Any) -> list[list[Any]]:
    """The way to each value in nested facts."""
    inside = facts.items() if isinstance(facts, dict) else enumerate(facts) if isinstance(facts, list) else ()
    return [[], *([key, *way] for key, value in inside for way in places(value))]


@pytest.mark.slow  # builds a trainer for each of some 50 edits
@pytest.mark.parametrize("turn", range(3))
def test_sealed_nonsense_in_the_facts_is_one_line_or_a_trainer(turn: int, kept: Path, tmp_path: Path) -> None:
    """Who writes a checksum of their own gets an error of one line, if not a trainer of other settings."""
    ways, nonsense = [way for way in places(parts_of(kept)[0]) if way], (None, {}, "word", -1, [1, 2], 1e9)
    assert len(ways) > 30
    said = []
    for number, way in enumerate(ways):
        facts, arrays = parts_of(kept)
        target: Any = facts
        for key in way[:-1]:
            target = target[key]
        target[way[-1]] = nonsense[(number + 2 * turn) % len(nonsense)]
        for read in (lambda path: TargetTrainer.restore(path).close(), load_policy):
            try:
                read(sealed(tmp_path / "edited", facts, arrays))
            except (ValueError, OSError) as error:
                said.append(str(error))
    assert not [text for text in said if "\n" in text]
    assert len(set(said)) > 20


def edits(x: np.ndarray) -> list[np.ndarray | None]:
    """None is no array."""
    return [None, x[..., None], np.array("word")]


@pytest.mark.parametrize("read", [pytest.param(TargetTrainer.restore, marks=pytest.mark.slow), load_policy])
def test_sealed_arrays_that_do_not_fit_are_refused_in_one_line(
    read: Callable[[Path], Any], kept: Path, tmp_path: Path
) -> None:
    facts, arrays = parts_of(kept)
    actor = next(name for name in arrays if name.startswith(checkpoint.ACTOR))
    for name in [actor] if read is load_policy else [actor, "0/adam/0", "0/updates"]:
        for edited in edits(arrays[name]):
            others = {key: x for key, x in arrays.items() if key != name} | ({} if edited is None else {name: edited})
            with pytest.raises(ValueError, match=r"^[^\n]+$"):
                read(sealed(tmp_path / "edited", facts, others))


def test_a_policy_alone_is_a_small_file_that_cannot_be_restored(kept: Path, tmp_path: Path) -> None:
    with TargetTrainer.restore(kept) as trainer:
        trainer.save(path := tmp_path / "policy", training=False)
        observation = np.random.default_rng(0).normal(size=(2, 3, 7)).astype(np.float32)
        random = torch.get_rng_state()
        for file in (path, kept):
            np.testing.assert_array_equal(load_policy(file)(observation), trainer.policy()(observation))
        assert torch.equal(random, torch.get_rng_state())
    assert "ray_address" not in parts_of(kept)[0]["arguments"], "a stranger's file would have us connect to its cluster"
    assert path.stat().st_size < kept.stat().st_size / 4
    with pytest.raises(ValueError, match="a policy alone; allowed: one saved with its training"):
        RLTrainer.restore(path)


def test_what_cannot_be_saved_leaves_nothing(tmp_path: Path) -> None:
    with make_trainer() as trainer:
        with pytest.raises(OSError, match="directory"):
            trainer.save(tmp_path)
        with pytest.raises(ValueError, match="save: got a object; allowed: Scenario, "):
            checkpoint.write(tmp_path / "object", {"x": object()}, {})
        with pytest.raises(ValueError, match="allow_pickle"):
            checkpoint.write(tmp_path / "object", {}, {"x": np.array([object()])})
    assert list(tmp_path.iterdir()) == []


def test_a_scenario_comes_back_with_all_that_training_reads(tmp_path: Path) -> None:
    scenario = Scenario.study(
        3,
        kinds=("prosumer", "consumer", "storage"),
        market_config=MarketConfig(price_mechanism="mcafee", loss_rate=0.1 + 0.2),
        grid_network=(grid := GridNetwork("ring", 5, 100.0, ampacity=80.0)),
        dso_profile_handler=DSOProfileHandler(40.0, 240.0, np.linspace(50, 60, 24), 200.0),
        der_profile_handler=DERProfileHandler(3),
        days=3,
    )
    grid.assign_agents_to_graph(reversed(scenario.agents))
    checkpoint.write(path := tmp_path / "scenario", {"scenario": scenario}, {})
    with checkpoint.opened(path) as (facts, _):
        back = facts["scenario"]
    assert isinstance(back, Scenario)
    for name, value in vars(scenario.params).items():
        other = vars(back.params)[name]
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other)
        elif name not in ("grid", "fleet", "tariffs"):
            assert value == other, name
    np.testing.assert_equal(vars(scenario.params.fleet), vars(back.params.fleet))
    np.testing.assert_equal(vars(scenario.params.tariffs), vars(back.params.tariffs))
    assert back.grid_network == grid
    assert back.grid_network.agent_node == grid.agent_node


DEPLOYED = """
import sys
sys.modules.update(dict.fromkeys(("ray", "gymnasium", "threadpoolctl")))  # importing them fails
import numpy as np
from market.rl import load_policy
for path in sys.argv[1:]:
    observation, expected = np.load(f"{path}.npz").values()
    np.testing.assert_array_equal(load_policy(path)(observation), expected)
    if "ctce" not in path:
        own = load_policy(path, agent=1)(observation[:, 1])
        np.testing.assert_allclose(own, expected[:, 1], atol=1e-6)
"""


def test_policies_play_where_there_is_no_ray(tmp_path: Path) -> None:
    files = []
    for algorithm, mode in itertools.product(ALGORITHMS, MODES):
        with make_trainer(mode, algorithm=algorithm) as trainer:
            files.append(tmp_path / f"{algorithm} {mode}")
            trainer.save(files[-1], training=False)
            observation = np.random.default_rng(0).normal(size=(2, 3, 7)).astype(np.float32)
            np.savez(f"{files[-1]}.npz", observation, trainer.policy()(observation))
    subprocess.run([sys.executable, "-c", DEPLOYED, *files], check=True)


@pytest.mark.parametrize(("mode", "agents"), [("dtde", (3, -1, 0.5, True, "one")), ("ctce", (0,))])
def test_agents_that_cannot_act_alone_are_named(mode: str, agents: tuple[Any, ...], tmp_path: Path) -> None:
    with make_trainer(mode) as trainer:
        trainer.save(path := tmp_path / "policy")
    for agent in agents:
        with pytest.raises(ValueError, match=r"^agent(_policy)?: got [^\n]+; allowed: [^\n]+$"):
            load_policy(path, agent)


def test_a_loaded_policy_names_the_observations_that_it_wants(tmp_path: Path) -> None:
    with make_trainer("dtde") as trainer:
        trainer.save(path := tmp_path / "policy", training=False)
    for agent, shape, allowed in ((None, (2, 4, 7), r"\[E, 3, 7\]"), (1, (2, 3, 7), r"\[E, 7\]")):
        with pytest.raises(ValueError, match=rf"^observation: got shape [^\n]*; allowed: {allowed}"):
            load_policy(path, agent)(np.zeros(shape, np.float32))


def test_a_market_trainer_goes_on_from_its_file(tmp_path: Path) -> None:
    """On the market itself: the scenario is rebuilt from its description, to the last bit."""
    make = {"episodes_per_iteration": 2, "hyperparameters": SMALL[RLAlgorithm.PPO]}
    with RLTrainer(Scenario.study(2), "ppo", "ctde", 1, **make) as trainer:
        trainer.train()
        trainer.save(path := tmp_path / "market")
        with RLTrainer.restore(path) as restored:
            assert restored.train_iteration().return_mean == trainer.train_iteration().return_mean
            np.testing.assert_array_equal(restored.evaluate(2).returns, trainer.evaluate(2).returns)
