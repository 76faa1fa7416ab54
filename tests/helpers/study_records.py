"""Records of a study that never ran: known laws of time and memory, known phases, KPIs that are known to move."""

from __future__ import annotations

import numpy as np

from benches.measure.records import Record

POPULATIONS = (1, 5, 10, 20, 50, 100)
MODES = {"ctce": (2.0, 0.1, 0.8), "ctde": (2.2, 0.05, 1.0), "dtde": (1.8, 0.03, 1.3)}
"""Floor, factor and exponent of the seconds of a training, by mode."""
ALGORITHMS = {"ppo": 1.0, "appo": 0.8, "sac": 1.6}
"""Seconds over those of ppo."""
ITERATIONS, EPISODES = 50, 10
KPIS = ("cost_saving", "self_consumption", "clearing_price", "p2p_share", "loss_share", "gini_savings")
"""Enough of the registry's to show; each costs a panel and a table."""
FACTS = {"machine": {"cpu": "toy", "cores": 2, "cores_usable": 2}, "versions": {"python": "3.11"}, "commit": "abc" * 5}
SAVED = {
    "random": -0.5,
    "zero_intelligence": 0.2,
    "truthful": 0.4,
    "own_battery": 0.6,
    "pooled_battery": 0.8,
    "mpc_persistence": 0.85,
    "mpc_perfect": 0.93,
    "optimum": 1.0,
}
"""$ per agent that references save."""
PHASES = {"clearing": (0.5, 0.4), "policy": (0.5, 0.0), "forward": (0.5, 0.9)}
"""Weight of each phase: a + b log10 N; policy and clearing share the lead at first, forward has it in the end."""


def seconds(mode, algorithm, agents):
    floor, factor, exponent = MODES[mode]
    return ALGORITHMS[algorithm] * (floor + factor * agents**exponent)


def record(case, params, *, seed=42, status="ok", error=None, seconds=(1.0,), **fields):
    """A record as a run writes it."""
    params = {"seed": seed, **params}
    key = " ".join(map(str, (case, *params.values())))
    shared = {"version": "1", "unit": "agents", "clock": "wall", "budget": 1.25, "profile": "study"}
    taken = list(seconds) if status == "ok" else []
    return Record(
        key=key,
        case=case,
        params=params,
        size=float(params["agents"]),
        status=status,
        error=error,
        rounds=len(taken),
        seconds=taken,
        cpu_seconds=taken,
        min=min(taken, default=None),
        median=float(np.median(taken)) if taken else None,
        seeds={"case": seed},
        load_before=[0.5, 0.5, 0.5],
        load_after=[0.7, 0.5, 0.5],
        timestamp="2026-11-24T12:00:00+00:00",
        **(shared | FACTS | fields),
    )


def training(mode, algorithm, agents, *, seed=42, noise=0.01, **fields):
    """A whole training: 50 noisy iterations, a return that converges at about a third, KPIs that rise or stay."""
    rng = np.random.default_rng([seed, agents, *mode.encode(), *algorithm.encode()])
    iterations = seconds(mode, algorithm, agents) / ITERATIONS * np.exp(rng.normal(0, noise, ITERATIONS))
    total = float(iterations.sum())
    weights = {name: a + b * np.log10(agents) for name, (a, b) in PHASES.items()}
    share = {name: [total * weight / sum(weights.values())] for name, weight in weights.items()}
    kpis = {name: rng.normal(1.0, 0.05, EPISODES) for name in KPIS}
    kpis["self_consumption"] = 0.3 + 0.1 * np.log2(agents) + rng.normal(0, 0.01, EPISODES)
    kpis["cost_saving"] = 0.5 * agents + rng.normal(0, 0.01, EPISODES)
    kpis["clearing_price"] = [None] * EPISODES if agents == 1 else 100 + rng.normal(0, 5, EPISODES)
    facts = {
        "training_seconds": total,
        "training_episodes": ITERATIONS * EPISODES,
        "gradient_steps": 1000,
        "iteration_seconds": iterations.tolist(),
        "iteration_returns": (1 - np.exp(-np.arange(ITERATIONS) / 6) + rng.normal(0, 0.01, ITERATIONS)).tolist(),
        "evaluated_iterations": list(range(5, ITERATIONS + 1, 5)),
        "evaluated_savings": [
            (0.5 * agents * (1 - np.exp(-n / 10)) + rng.normal(0, 0.01 * agents, EPISODES)).tolist()
            for n in range(5, ITERATIONS + 1, 5)
        ],
        "seen_kpis": {"cost_saving": (0.6 * agents + rng.normal(0, 0.01, EPISODES)).tolist()},
        "evaluation_kpis": {name: [None if v is None else float(v) for v in values] for name, values in kpis.items()},
    }
    return record(
        "train/whole",
        {"mode": mode, "algorithm": algorithm, "iterations": ITERATIONS, "agents": agents},
        seed=seed,
        seconds=[total + 0.1],
        phases=share,
        facts=facts,
        peak_memory=int(4e8 + 2e6 * agents + 500 * agents**2),
        rates={"agent_steps": 100.0 * agents, "env_steps": 100.0},
        isolated=True,
        **fields,
    )


def iteration(mode, algorithm, agents, law, *, seed=42, processes=4, rounds=3, noise=0.01, drift=0.1):
    """Iterations timed in turns: CPU seconds by a law of N, in blocks that share a drift."""
    taken = []
    for process in range(processes):
        block = np.random.default_rng([seed, process, *mode.encode()]).normal(0, drift, rounds)
        own = np.random.default_rng([seed, process, agents, *mode.encode(), *algorithm.encode()])
        taken += (law(agents) * np.exp(block + own.normal(0, noise, rounds))).tolist()
    return record(
        "train/iteration",
        {"mode": mode, "algorithm": algorithm, "iterations": 12, "agents": agents},
        seed=seed,
        seconds=taken,
        turns=[rounds] * processes,
        threads={"OMP_NUM_THREADS": "1"},
        phases={"clearing": [0.3] * len(taken), "forward": [0.1 * np.log2(1 + agents)] * len(taken)},
    )


def reference(player, agents, *, seed=42):
    """A reference policy, or the optimum, which saves 1 $ per agent."""
    saved = SAVED[player] * agents
    kpis = {name: [1.0] * EPISODES for name in KPIS} | {"cost_saving": [saved] * EPISODES}
    facts = {"evaluation_kpis": kpis}
    if player == "optimum":
        facts["rule_saving"] = [0.2 * agents] * EPISODES
        for days in ("", "seen_"):
            facts |= {f"{days}alone_cost": [3.0 * agents] * EPISODES, f"{days}optimal_cost": [2.0 * agents] * EPISODES}
        return record("reference/optimum", {"agents": agents}, seed=seed, facts=facts)
    return record("reference/policy", {"policy": player, "agents": agents}, seed=seed, facts=facts)


def study(populations=POPULATIONS, seeds=(42,), algorithms=ALGORITHMS, **fields):
    """The records of a whole study."""
    found = [reference(player, agents, seed=seed) for seed in seeds for player in SAVED for agents in populations]
    return found + [
        training(mode, algorithm, agents, seed=seed, **fields)
        for seed in seeds
        for mode in MODES
        for algorithm in algorithms
        for agents in populations
    ]
