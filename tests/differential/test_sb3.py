"""Learning against Stable-Baselines3 2.9: PPO and SAC that play the whole community as one agent, as our CTCE does.

SB3 needs an environment of its own, .venv-sb3, which `make test-all` builds (`make .venv-sb3/.ready` alone);
`sb3_training.py` runs there, with SB3's defaults apart from the communities it steps at once. Both sides train for the
same number of env-steps on the same communities and are measured on the same episodes, which neither has trained on.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benches.stats.intervals import of_mean
from benches.workloads.references import evaluated
from market import RLTrainer, Scenario
from market.evaluation.optimum import attainable

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-sb3" / "bin" / "python"
SCRIPT = ROOT / "tests" / "differential" / "sb3_training.py"
SEEDS = tuple(range(5))
EPISODES = 10
STEPS = {"ppo": 23_040, "sac": 7_680}
"""Env-steps of a training: whole updates of both sides. SAC's gradient steps take SB3 longer."""
NEGLIGIBLE = 0.005
"""A position that far ahead is no better: one agent alone does as well by doing nothing, and rounding would decide."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="Stable-Baselines3 is not installed; make .venv-sb3/.ready"),
]


def ours(algorithm: str, agents: int, seed: int) -> float:
    """Mean position on held-out episodes after STEPS env-steps."""
    scenario, steps = Scenario.study(agents, seed), 0
    with RLTrainer(scenario, algorithm, "ctce", 1, seed=seed) as trainer:
        while steps < STEPS[algorithm]:
            steps += trainer.train_iteration().env_steps
        saved = trainer.evaluate(EPISODES).kpis["cost_saving"]
    assert steps == STEPS[algorithm]
    return float(np.nanmean(saved / attainable(*evaluated(scenario.unseen, seed, EPISODES))))


def compared(algorithm: str, agents: int, seeds: tuple[int, ...] = SEEDS) -> tuple[list[float], list[float]]:
    """Positions by seed: ours, and SB3's, which trains meanwhile in its own process."""
    asked = {
        "algorithm": algorithm,
        "agents": agents,
        "seeds": seeds,
        "steps": STEPS[algorithm],
        "episodes": EPISODES,
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([PYTHON, SCRIPT], **pipes, text=True, env=environment) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(asked))
        process.stdin.close()
        process.stdin = None
        found = [ours(algorithm, agents, seed) for seed in seeds]
        answer, errors = process.communicate(timeout=540)
    assert process.returncode == 0, errors
    return found, json.loads(answer)


@pytest.mark.parametrize("agents", [1, 5])
@pytest.mark.parametrize("algorithm", STEPS)
def test_sb3_is_no_better_at_equal_env_steps(algorithm, agents):
    mine, theirs = compared(algorithm, agents)
    gain = of_mean(np.subtract(mine, theirs).tolist())
    print(algorithm, agents, "ours", mine, "SB3", theirs, "ours - SB3", gain)
    assert gain.high >= -NEGLIGIBLE, f"SB3 is better: ours {mine}, SB3 {theirs}"
