# %% [markdown]
# # A tour: from one order book to a scalability study
#
# Each cell stands on those before it. Open the file as a notebook with jupytext or an editor that knows `# %%`, or run
# it: `python benches/docs/tour.py`. Everything is small here; `make study` runs the whole study, with records that a
# killed run goes on from, and judges the growth with an interval. Times taken in a notebook are an impression.

# %%
"""A tour of the market, the environments, training and what grows with the number of agents."""

from pathlib import Path

import gymnasium
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from market import ClearingMechanism, MarketConfig, Orders, RLAlgorithm, RLTrainer, Scenario, TrainingMode, clear
from market.envs import MarketVectorEnv, check_market_env
from market.evaluation.optimum import alone_cost, cooperative_optimum
from market.records.export import replay

POPULATIONS = (1, 5, 10)
ITERATIONS = 3
FOLDER = Path("tour")

# %% [markdown]
# ## One book
#
# Bids from high to low meet asks from low to high; what is left goes to the distribution system operator (DSO, agent
# -1), so nothing stays unmatched. Prices are $/MWh, quantities kWh.

# %%
book = Orders(price=[50, 40, 30, 20], quantity=[1, 2, 1.5, 1], is_buy=[True, True, False, False])
for mechanism in (ClearingMechanism.AVERAGE, ClearingMechanism.UNIFORM, ClearingMechanism.MCAFEE):
    result = clear(book, MarketConfig(0, 100, price_mechanism=mechanism), feed_in_tariff=2.0, utility_price=60.0)
    print(f"\n{mechanism.value}\n{result.trades.to_frame().to_string()}")

# %% [markdown]
# ## A community
#
# The study's households: batteries, PV for most, one node each of a mesh. `profiles="measured"` takes the load profiles
# of BDEW and the sun of Berlin instead; `kinds` mixes consumers, producers and storage; 96 steps of a quarter of an
# hour make a day just as well.

# %%
scenario = Scenario.study(10)
fine = Scenario.study(10, profiles="measured", max_steps=96, step_hours=0.25, kinds=("prosumer", "consumer", "storage"))
for name, community in (("study", scenario), ("measured, mixed, quarter hours", fine)):
    params = community.params
    made, used = (each.sum((1, 2)).mean() for each in (params.generation, params.demand))
    print(f"{name}: generation {made:.0f} kWh, demand {used:.0f} kWh a day, {params.num_days} days")

# %% [markdown]
# ## A day
#
# Ten days at once, with random actions. Efficiency has two ends: every household alone with the DSO, and all of them as
# one that knows the future. Random trade lies far below the first.

# %%
env = MarketVectorEnv(scenario, num_envs=10)
check_market_env(env)
env.reset(seed=1)
env.action_space.seed(1)
over = np.zeros(10, bool)
while not over.any():
    _, _, over, _, _ = env.step(env.action_space.sample())
print(pd.Series({name: np.nanmean(values) for name, values in env.kpis().items()}).round(3).to_string())
best = cooperative_optimum(env.params, env.start).cost
print(f"a day costs the community {alone_cost(env.params, env.start)[0]:.2f} $ without a market, {best:.2f} $ at best")

# %% [markdown]
# Every trade and state of these days as Parquet. `replay` reads them, adds up energy and money, and hashes the ledger
# anew: it raises on the first number that does not fit.

# %%
env.export(FOLDER / "export")
verified = replay(FOLDER / "export")
print(f"{verified.history.cost.shape[0]} steps of {len(verified.ledgers)} episodes add up, and no block was touched")

# %% [markdown]
# The same community for tools that expect the usual interfaces: gymnasium here, PettingZoo (`MarketParallelEnv`) and
# RLlib (`MarketMultiAgentEnv`) in `market.envs`.

# %%
single = gymnasium.make("LocalEnergyMarket-v0", num_agents=5)
observation, _ = single.reset(seed=1)
print(f"{single.spec.id}: observations {observation.shape}, actions {single.action_space.shape}")

# %% [markdown]
# ## Training
#
# Populations, by who learns from what: CTCE (one joint actor), CTDE (own actors, joint critic), DTDE (all alone). The
# first iteration pays for what is loaded and allocated, so it is left out of the rates.

# %%
rows = []
for agents in POPULATIONS:
    for mode in TrainingMode:
        with RLTrainer(Scenario.study(agents), RLAlgorithm.PPO, mode, iters=ITERATIONS) as trainer:
            trainer.train_iteration()
            trained = trainer.train()
            seconds = float(np.median([record.total_seconds for record in trained.iterations]))
            rows.append(
                {
                    "agents": agents,
                    "mode": mode.name,
                    "seconds": seconds,
                    "agent-steps/s": trained.iterations[-1].agent_steps / seconds,
                    "learning share": trained.learning_seconds / trained.total_seconds,
                    "saving $": trainer.evaluate(5).kpi_means["cost_saving"],
                }
            )
table = pd.DataFrame(rows)
FOLDER.mkdir(exist_ok=True)
table.to_csv(FOLDER / "training.csv", index=False)
print(table.round(3).to_string(index=False))

# %% [markdown]
# ## Growth
#
# On logarithmic axes a power law is a line; a floor, the cost of an iteration whatever its size, bends it. Three
# populations show a picture and no exponent: `python -m benches.report` fits one where the data carry it, with its
# interval, and says so where they do not.

# %%
figure, axes = plt.subplots(figsize=(6, 4))
for mode, series in table.groupby("mode"):
    axes.loglog(series["agents"], series["seconds"], marker="o", label=mode)
axes.set(xlabel="agents", ylabel="seconds per iteration", title="PPO")
axes.legend()
figure.tight_layout()
figure.savefig(FOLDER / "training.png", dpi=150)
