# %% [markdown]
# # From smart meters to a trained policy
#
# Your households, tariffs and days: read, train, judge on later days, save, and use the policy in a loop of your own.
# Open the file as a notebook with jupytext or an editor that knows `# %%`, or run it in a folder with your files:
# `python .../benches/docs/own_data.py`. Without files it makes small ones to start from.
#
# | file | columns |
# |---|---|
# | `demand.csv`, `generation.csv` | `time`, and one per household with its reading; missing readings are empty |
# | `tariffs.csv` | `hour` 0 to 23, `feed_in_tariff` and `utility_price` in $/MWh |

# %%
"""From smart-meter readings to a trained policy that needs no Ray."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from market import Battery, DERAgent, DSOProfileHandler, GridNetwork, MarketConfig, RLTrainer, Scenario
from market.envs import MarketVectorEnv
from market.evaluation.optimum import attainable
from market.evaluation.policies import POLICIES, play
from market.rl import load_policy
from market.simulation.dynamics import initial

UNIT = "kW"  # of the readings: "kW" is the mean power of a step, "kWh" its energy
ZONE = "Europe/Berlin"  # of times without an offset, and of the days: an episode lasts from midnight to midnight
STEP = pd.Timedelta(minutes=15)
LONGEST_GAP = 4  # steps that are filled between two readings; days with longer gaps are left out
HELD_OUT = 2  # last days, which training never sees
ITERATIONS = 100
FEEDER = "ieee13"  # a topology of `market.GridTopology`
LIMIT = 1000.0  # of all trade between households together, kW

# %% [markdown]
# Without `demand.csv`: eight days of four households, with a gap.

# %%
if not Path("demand.csv").exists():
    times = pd.date_range("2026-06-01", periods=8 * 96, freq=STEP, tz=ZONE)
    hour, rng = times.hour + times.minute / 60, np.random.default_rng(0)
    evening, sun = np.exp(-(((hour - 19) / 3) ** 2)), np.maximum(np.sin((hour - 6) / 12 * np.pi), 0)
    homes = [f"home {i}" for i in range(1, 5)]
    demand = {home: 0.3 + (1 + i) * evening * rng.uniform(0.7, 1.3, len(times)) for i, home in enumerate(homes)}
    generation = {home: 4 * sun * rng.uniform(0.4, 1.0, len(times)) for home in homes[1:]}
    for name, columns in (("demand", demand), ("generation", generation)):
        table = pd.DataFrame({"time": times, **columns}).drop(index=range(200, 203))
        table.to_csv(f"{name}.csv", index=False)
    prices = {"hour": range(24), "feed_in_tariff": 80.0, "utility_price": [220.0] * 6 + [300.0] * 18}
    pd.DataFrame(prices).to_csv("tariffs.csv", index=False)

# %% [markdown]
# ## Read
#
# Times with an offset, UTC for instance, are moved to `ZONE`; those without are taken as its own. Days without all
# their steps go: those with long gaps, the first and the last if cut, and the two when clocks change.


# %%
def readings(name: str) -> pd.DataFrame:
    """Energy by step in kWh: a row per step of whole days, a column per household."""
    table = pd.read_csv(f"{name}.csv", index_col="time").astype(float)
    naive = pd.Timestamp(table.index[0]).tz is None
    times = pd.to_datetime(table.index, utc=not naive)
    local = times.tz_localize(ZONE, ambiguous="NaT", nonexistent="NaT") if naive else times.tz_convert(ZONE)
    table = table.set_axis(local)[local.notna()].sort_index()
    every = pd.date_range(table.index[0], table.index[-1], freq=STEP)
    table = table[~table.index.duplicated()].reindex(every).interpolate(limit=LONGEST_GAP, limit_area="inside")
    return table * (STEP / pd.Timedelta(hours=1)) if UNIT == "kW" else table


def whole_days(*tables: pd.DataFrame) -> list[pd.DataFrame]:
    """Those days of which every table has all steps."""
    steps = pd.Timedelta(days=1) // STEP
    known = [table.notna().all(axis=1).groupby(table.index.date) for table in tables]
    full = [each.all() & (each.size() == steps) for each in known]
    days = sorted(set.intersection(*(set(each.index[each]) for each in full)))
    return [table[np.isin(table.index.date, days)] for table in tables]


demand, generation = whole_days(readings("demand"), readings("generation"))
days = len(demand) * STEP // pd.Timedelta(days=1)
print(f"{days} whole days of {demand.shape[1]} households, {demand.to_numpy().sum() / days:.1f} kWh a day")

# %% [markdown]
# ## A community
#
# A battery holds a third of its household's mean daily demand, and fills in two hours.

# %%
steps, hours = pd.Timedelta(days=1) // STEP, STEP / pd.Timedelta(hours=1)
agents = []
for home in demand:
    used = demand[home].to_numpy().reshape(days, steps)
    made = generation[home].to_numpy().reshape(days, steps) if home in generation else np.zeros((days, steps))
    size = max(used.sum(1).mean() / 3, 1.0)
    rated = max(used.max(), made.max()) / hours
    agents.append(DERAgent(home, rated, Battery(size, power=size / 2), generation_profile=made, demand_profile=used))

tariffs = pd.read_csv("tariffs.csv", index_col="hour").loc[np.repeat(range(24), steps // 24)]
lowest, highest = float(tariffs["feed_in_tariff"].min()), float(tariffs["utility_price"].max())
dso = DSOProfileHandler(lowest, highest, tariffs["feed_in_tariff"].to_numpy(), tariffs["utility_price"].to_numpy())
scenario = Scenario(
    tuple(agents),
    max_steps=steps,
    step_hours=hours,
    held_out_days=HELD_OUT,
    market_config=MarketConfig(lowest, highest, min_quantity=0.001, max_quantity=100.0),
    grid_network=GridNetwork(FEEDER, num_nodes=13, capacity=LIMIT),
    dso_profile_handler=dso,
)
print(scenario)

# %% [markdown]
# ## Train, and judge on later days
#
# Position: 0 is what the households reach alone with the DSO, 1 is the cooperative optimum. The references are the same
# for everyone who reads the figure.

# %%
episodes = 10
unseen = scenario.unseen.params
start = initial(unseen, np.arange(episodes))
best = attainable(unseen, start)
found = {name: play(unseen, start.episode, policy)[1].saving.sum((0, 2)) for name, policy in POLICIES.items()}
with RLTrainer(scenario, "ppo", "dtde", iters=ITERATIONS) as trainer:
    trained = trainer.train().to_frame()
    found["trained"] = trainer.evaluate(episodes).kpis["cost_saving"]
    trainer.save("policy")
positions = pd.Series({name: saving.mean() / best.mean() for name, saving in found.items()}).sort_values()
print(positions.round(2).to_string())

figure, axes = plt.subplots(1, 2, figsize=(9, 3.5))
trained.plot(x="iteration", y="return_mean", ax=axes[0], legend=False, ylabel="return", title="training")
positions.plot.barh(ax=axes[1], xlabel="position", title="days not seen in training")
figure.tight_layout()
figure.savefig("own_data.png", dpi=150)

# %% [markdown]
# ## Use it, without Ray
#
# The file holds weights and no code. `load_policy("policy", agent=0)` is one household's own policy, on what it sees.

# %%
policy = load_policy("policy")
env = MarketVectorEnv(scenario.unseen)
observation, _ = env.reset(seed=1)
over = np.zeros(1, bool)
while not over.any():
    observation, _, over, _, _ = env.step(policy(observation))
flows = env.history().to_frame().groupby("agent")[["bought_p2p", "sold_p2p", "imported", "cost", "saving"]].sum()
print(flows.set_axis(list(demand)).round(2).to_string())
