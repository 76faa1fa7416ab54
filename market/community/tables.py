"""A community as a folder of tables, CSV or Parquet: agents, their profiles, and the DSO's prices.

agents: a row per agent with id, capacity (kW) and, as far as known, node and the fields of a battery (nominal_capacity
in kWh, min_soc, max_soc, initial_soc, charge_efficiency, discharge_efficiency); no nominal_capacity is no battery.
generation, demand: a column per agent id and a row per step, kWh; an agent without a column has none.
tariffs: feed_in_tariff and utility_price, $/MWh, a row per step; without the table they are drawn.
steps: the length of a step, hours; without the table it is 1 h.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market.clearing.orders import Floats
from market.community.agents import Battery, DERAgent
from market.community.scenario import Scenario
from market.community.series import resample
from market.community.synthetic import DSOProfileHandler
from market.config import MarketConfig, check_range, find, nearest

if TYPE_CHECKING:
    import pandas as pd

BATTERY = tuple(field.name for field in fields(Battery))
COLUMNS = ("id", "capacity", "node", *BATTERY)
FORMATS = {"csv": ".csv", "parquet": ".parquet"}


def load_community(folder: str | Path, hours: float | None = None, **scenario: Any) -> Scenario:
    """The community in `folder`. hours: length of the tables' steps, h; None: as the table `steps` says, or 1 h.

    scenario: more fields of Scenario.

    max_steps and step_hours are by default those of the tables; others are resampled, energy by even power. ValueError
    names the table and column that cannot be read.
    """
    folder = Path(folder)
    rows = _agents(read_table(folder, "agents"))
    made, used = read_table(folder, "generation", needed=False), read_table(folder, "demand")
    ids = [str(row["id"]) for row in rows]
    for name, table in (("generation", made), ("demand", used)):
        for column in [] if table is None else table.columns:
            if str(column) not in ids:
                raise ValueError(
                    f"{name}: got the column {column!r}; allowed: ids of agents{nearest(str(column), ids)}"
                )
    hours = check_range("hours", _hours(folder) if hours is None else hours, 1e-3, 24.0, "h")
    step_hours = check_range("step_hours", scenario.get("step_hours", hours), 1e-3, 24.0, "h")
    steps = scenario.get("max_steps", round(len(used) * hours / step_hours))
    agents = []
    for row in rows:
        generation, demand = (
            resample(_numbers(name, table, str(row["id"]), len(used)), hours, steps, step_hours)
            for name, table in (("generation", made), ("demand", used))
        )
        agents.append(
            DERAgent(str(row["id"]), row["capacity"], _battery(row), generation, demand, node=row.get("node"))
        )
    given: dict[str, Any] = {"agents": tuple(agents), "max_steps": steps, "step_hours": step_hours} | scenario
    tariffs = read_table(folder, "tariffs", needed=False)
    if tariffs is not None and "dso_profile_handler" not in scenario:
        config = scenario.get("market_config", MarketConfig())
        prices = {
            name: resample(_numbers("tariffs", tariffs, name, len(used)) * hours, hours, steps, step_hours) / step_hours
            for name in ("feed_in_tariff", "utility_price")
        }
        given["dso_profile_handler"] = DSOProfileHandler(config.min_price, config.max_price, **prices)
    return Scenario.from_dict(given)


def save_community(scenario: Scenario, folder: str | Path, kind: str = "csv") -> None:
    """Write the agents, profiles, steps and measured prices of `scenario` for `load_community`. kind: csv or parquet.

    They replace all tables of a community in `folder`. The rules of the market and the grid are not among them.
    """
    import pandas as pd

    agents = pd.DataFrame(
        [
            {"id": agent.id, "capacity": agent.capacity, "node": agent.node}
            | {name: getattr(agent.battery, name, None) for name in BATTERY}
            for agent in scenario.agents
        ],
        columns=COLUMNS,
    ).astype({"node": "Int64"} | dict.fromkeys(BATTERY, "float64"))
    tables = {"agents": agents.dropna(axis=1, how="all")}
    for name in ("generation", "demand"):
        tables[name] = pd.DataFrame({agent.id: getattr(agent, f"{name}_profile") for agent in scenario.agents})
    tables["steps"] = pd.DataFrame({"hours": [scenario.step_hours]})
    prices = scenario.dso_profile_handler
    if prices is not None and prices.feed_in_tariff is not None:
        tariff, price = prices.get_price_profiles(scenario.max_steps)
        tables["tariffs"] = pd.DataFrame({"feed_in_tariff": tariff[0], "utility_price": price[0]})
    find(FORMATS, kind, "kind")
    for name in (*tables, "tariffs"):
        for ending in FORMATS.values():  # a table of a community saved before would be read instead
            (Path(folder) / f"{name}{ending}").unlink(missing_ok=True)
    for name, table in tables.items():
        write_table(table, Path(folder), name, kind)


def write_table(table: pd.DataFrame, folder: Path, name: str, kind: str = "parquet") -> None:
    """Write `table` as `folder`/`name`.csv or .parquet, exactly: numbers read back are the same to the last bit."""
    path = folder / f"{name}{find(FORMATS, kind, 'kind')}"
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "csv":
        table.to_csv(path, index=False, float_format="%.17g")
    else:
        table.to_parquet(path, index=False)


def read_table(folder: Path, name: str, *, needed: bool = True) -> Any:
    """The table `name` of `folder`, Parquet before CSV; None if there is none and none is needed."""
    import pandas as pd

    for read, path in ((pd.read_parquet, folder / f"{name}.parquet"), (_read_csv, folder / f"{name}.csv")):
        if path.is_file():
            try:
                return read(path)
            except (ValueError, OSError) as error:
                reason = str(error).splitlines()[0]
                raise ValueError(f"{name}: got {str(path)!r}; allowed: a table that can be read ({reason})") from None
    if needed:
        raise ValueError(f"{name}: got no {name}.parquet or {name}.csv in {str(folder)!r}; allowed: one of them")
    return None


def _hours(folder: Path) -> object:
    """Hours of a step, as the table `steps` says, not checked; 1 without it."""
    table = read_table(folder, "steps", needed=False)
    if table is None:
        return 1.0
    if list(table.columns) != ["hours"] or len(table) != 1:
        raise ValueError(f"steps: got {len(table)} rows of {list(table.columns)}; allowed: a column hours of one row")
    return table["hours"].iloc[0]


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(path, dtype={"id": str})


def _agents(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The agents' rows without what is missing."""
    names = list(COLUMNS)
    for column in table.columns:
        if column not in names:
            raise ValueError(f"agents: got the column {column!r}; allowed: {', '.join(names)}{nearest(column, names)}")
    for column in ("id", "capacity"):
        if column not in table.columns or table[column].isna().any():
            raise ValueError(
                f"agents: got no {column} for some agent; allowed: a column {column} with a value in each row"
            )
    rows = []
    for row in table.to_dict("records"):
        known = {str(name): value for name, value in row.items() if not _missing(value)}
        if "node" in known:
            node = known["node"]
            if isinstance(node, str) or node != int(node):
                raise ValueError(f"node: got {node!r} for agent {row['id']!r}; allowed: whole numbers >= 0")
            known["node"] = int(node)
        rows.append(known)
    return rows


def _missing(value: Any) -> bool:
    """Whether a cell is empty: None, nan or NA, none of which equals itself."""
    return value is None or value is not value or str(value) in ("nan", "<NA>")


def _battery(row: dict[str, Any]) -> Battery | None:
    given = {name: row[name] for name in BATTERY if name in row}
    if "nominal_capacity" not in given:
        if given:
            raise ValueError(
                f"nominal_capacity: got none for agent {row['id']!r} with {next(iter(given))}; allowed: kWh"
            )
        return None
    return Battery(**given)


def _numbers(name: str, table: Any, column: str, steps: int) -> Floats:
    """A column of `table` as numbers [S]; zeros without it."""
    if table is None or column not in table.columns:
        if name != "tariffs":
            return np.zeros(steps)
        raise ValueError(f"{name}: got no column {column!r}; allowed: feed_in_tariff and utility_price")
    if len(table) != steps:
        raise ValueError(f"{name}: got {len(table)} rows; allowed: {steps}, as in demand")
    try:
        values = np.asarray(table[column], np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: got {table[column].iloc[0]!r} in column {column!r}; allowed: numbers") from None
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{name}: got {values[row]} in column {column!r}, row {row}; allowed: finite numbers >= 0")
    return values
