"""A community as a folder of tables, CSV or Parquet: agents, their profiles, and the DSO's prices.

agents: a row per agent with id, capacity (kW) and, as far as known, node and the fields of a battery (nominal_capacity
in kWh, min_soc, max_soc, initial_soc, charge_efficiency, discharge_efficiency, power in kW); no nominal_capacity is no
battery, no power no limit of it.
generation, demand: a column per agent id and a row per step, kWh; an agent without a column has none.
tariffs: feed_in_tariff and utility_price, $/MWh, a row per step; every day has those of the first. Without the table
they are drawn.
steps: hours, the length of a step, and days, into which the rows divide evenly; without the table 1 h and 1 day.
"""

from __future__ import annotations

import csv
from collections.abc import Container
from dataclasses import fields
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market.clearing.config import MarketConfig
from market.community.agents import Battery, DERAgent
from market.community.scenario import Scenario
from market.community.series import check_numbers, cut_days, resample
from market.community.synthetic import DSOProfileHandler
from market.support import check
from market.support.arrays import Floats
from market.support.files import write_together

if TYPE_CHECKING:
    import pandas as pd

PRICES = ["feed_in_tariff", "utility_price"]
BATTERY = tuple(field.name for field in fields(Battery))
COLUMNS = ("id", "capacity", "node", *BATTERY)
TABLES = ("agents", "generation", "demand", "steps", "tariffs")
FORMATS = {
    "csv": methodcaller("to_csv", index=False, quoting=csv.QUOTE_NONNUMERIC),
    "parquet": methodcaller("to_parquet", index=False),
}
MISSING = ("", "NA", "N/A", "NULL", "null", "None")  # what a CSV's cell without a number says; any text can be an id


def load_community(folder: str | Path, **scenario: Any) -> Scenario:
    """The community in `folder`.

    folder: holds the tables.
    scenario: more fields of Scenario. Another step_hours than the tables' resamples them, energy by even power. Fewer
        max_steps cut long tables at midnight into days, of which each episode draws one; what is left is not used.

    ValueError names the table and column that cannot be read.
    """
    folder = Path(folder)
    rows = _agents(read_table(folder, "agents"))
    ids = [row["id"] for row in rows]
    used = read_table(folder, "demand")
    made = read_table(folder, "generation", needed=False)
    hours, days = _steps(folder, len(used))
    step_hours = check.number("step_hours", scenario.get("step_hours", hours), 1e-3, 24.0, "h")
    length = len(used) / days * hours / step_hours
    steps = check.whole("max_steps", scenario.get("max_steps", round(length)))

    def series(name: str, table: pd.DataFrame, columns: list[str]) -> Floats:
        """These columns as energy in the scenario's days, [C, D, T]; zeros for those that the table does not have."""
        if len(table) != len(used):
            raise ValueError(f"{name}: got {len(table)} rows; allowed: {len(used)}, as in demand")
        for column in table.columns:
            if column not in columns:
                hint = check.nearest(str(column), columns)
                raise ValueError(f"{name}: got the column {column!r}; allowed: ids of agents{hint}")
        none = np.zeros(len(table))
        known = [check_numbers(f"{name}, {c!r}", table[c].tolist()) if c in table else none for c in columns]
        by_day = np.reshape(known, (len(columns) * days, -1))
        fitted = resample(by_day, hours, max(steps, int(length + 1e-9)), step_hours)
        return cut_days(fitted, steps, step_hours).reshape(len(columns), -1, steps)

    demand = series("demand", used, ids)
    generation = np.zeros_like(demand) if made is None else series("generation", made, ids)
    given = {"agents": [*map(_agent, rows, generation, demand)], "max_steps": steps, "step_hours": step_hours}
    tariffs = read_table(folder, "tariffs", needed=False)
    if tariffs is not None and "dso_profile_handler" not in scenario:
        config = scenario.get("market_config", MarketConfig())
        for name in PRICES:
            if name not in tariffs:
                raise ValueError(f"tariffs: got no column {name!r}; allowed: {' and '.join(PRICES)}")
        prices = series("tariffs", tariffs[PRICES], PRICES)[:, 0] * (hours / step_hours)
        given["dso_profile_handler"] = DSOProfileHandler(config.min_price, config.max_price, *prices)
    return Scenario.from_dict(given | scenario)


def save_community(scenario: Scenario, folder: str | Path, kind: str = "csv") -> None:
    """Write the agents, profiles, steps and measured prices of `scenario` for `load_community`, not its rules and grid.

    folder: its tables of a community, of either format, give way once the new ones are whole on the disk. An error
        leaves them as they were; a kill while files are renamed leaves whole tables, some of them old.
    kind: csv or parquet.
    """
    files = files_of(tables_of(scenario), kind)
    write_together(Path(folder), files, others(files))


def tables_of(scenario: Scenario) -> dict[str, pd.DataFrame]:
    """The tables of the community of `scenario`, by name."""
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
        tables[name] = pd.DataFrame({agent.id: getattr(agent, f"{name}_profile").ravel() for agent in scenario.agents})
    tables["steps"] = pd.DataFrame({"hours": [scenario.step_hours], "days": [scenario.num_days]})
    prices = scenario.dso_profile_handler
    if prices is not None and prices.feed_in_tariff is not None:
        tariff, price = prices.get_price_profiles(scenario.max_steps)
        every_day = (np.tile(each[0], scenario.num_days) for each in (tariff, price))
        tables["tariffs"] = pd.DataFrame(dict(zip(PRICES, every_day, strict=True)))
    return tables


def files_of(tables: dict[str, pd.DataFrame], kind: str) -> dict[str, Any]:
    """Content of the file of each table, by the file's name; numbers and text read back are the same to the last bit.

    kind: csv for text, parquet for bytes.
    """
    write = check.find(FORMATS, kind, "kind")
    return {f"{name}.{kind}": write(table) for name, table in tables.items()}


def others(files: Container[str]) -> list[str]:
    """Names of files that `load_community` would read beside `files` or instead of them."""
    return [file for name in TABLES for kind in FORMATS if (file := f"{name}.{kind}") not in files]


def read_table(folder: Path, name: str, *, needed: bool = True) -> Any:
    """The table `name` of `folder`, Parquet before CSV; None if there is none and none is needed."""
    import pandas as pd

    for read, path in ((pd.read_parquet, folder / f"{name}.parquet"), (_read_csv, folder / f"{name}.csv")):
        if path.is_file():
            try:
                table = read(path)
                table.select_dtypes("str").astype(object)  # pandas decodes text, and finds damage, when it is asked for
                return table
            except Exception as error:  # noqa: BLE001 - of a damaged file, readers raise what they like
                reason = " ".join(str(error).split())[:200]
                raise ValueError(f"{name}: got {str(path)!r}; allowed: a table that can be read ({reason})") from None
    if needed:
        raise ValueError(f"{name}: got no {name}.parquet or {name}.csv in {str(folder)!r}; allowed: one of them")
    return None


def _read_csv(path: Path) -> pd.DataFrame:
    """Ids and the names of columns stay as they are written; all else is numbers where it can be."""
    import pandas as pd

    with path.open(newline="", encoding="utf-8-sig") as file:
        names, *rows = [row for row in csv.reader(file) if row] or [[]]
    if not names or len(set(names)) < len(names):
        raise ValueError("no header, or a column twice")
    for row in rows:
        if len(row) != len(names):
            raise ValueError(f"{len(row)} cells in the row {row!r:.40}, {len(names)} in the header")
    text = {"id"} if path.stem == "agents" else {}
    cells = ([cell if name in text else _number(cell) for name, cell in zip(names, row, strict=True)] for row in rows)
    return pd.DataFrame(cells, columns=names)


def _number(cell: str) -> float | str | None:
    """The number that a cell holds, None for none, or else its text."""
    try:
        return float(cell)
    except ValueError:
        return None if cell.strip() in MISSING else cell


def _steps(folder: Path, rows: int) -> tuple[float, int]:
    """Hours of a step, and days in `rows`, as the table `steps` says; 1 and 1 without it."""
    table = read_table(folder, "steps", needed=False)
    if table is None:
        return 1.0, 1
    columns = list(table.columns)
    if columns not in (["hours"], ["hours", "days"]) or len(table) != 1:
        raise ValueError(f"steps: got {len(table)} rows of {columns}; allowed: a column hours of one row, and days")
    days = check.whole("steps, 'days'", _whole(table["days"].tolist()[0])) if "days" in table else 1
    if rows % days:
        raise ValueError(f"steps, 'days': got {days}; allowed: a divisor of the {rows} rows of demand")
    return check.number("steps, 'hours'", table["hours"].tolist()[0], 1e-3, 24.0, "h"), days


def _agents(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The agents' rows without what is missing."""
    for column in table.columns:
        check.find(dict.fromkeys(COLUMNS), column, "column of agents")
    for column in ("id", "capacity"):
        if column not in table or table[column].isna().any():
            raise ValueError(f"agents: got no {column} for some agent; allowed: a column of a value for each")
    if table.empty:
        raise ValueError("agents: got 0 agents; allowed: at least 1")
    if table["id"].dtype != "str":
        raise ValueError(f"agents: got ids of {table['id'].dtype}; allowed: text")
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items() if value is not None} for row in rows]


def _whole(value: Any) -> Any:
    """A whole number as an int: a CSV, and a column with gaps, hold floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _agent(row: dict[str, Any], generation: Floats, demand: Floats) -> DERAgent:
    """The agent of a row, with its profiles."""
    battery = {name: row[name] for name in BATTERY if name in row}
    try:
        if battery and "nominal_capacity" not in battery:
            raise ValueError(f"nominal_capacity: got none with {next(iter(battery))}; allowed: kWh")
        own = Battery(**battery) if battery else None
        return DERAgent(row["id"], row["capacity"], own, generation, demand, _whole(row.get("node")))
    except ValueError as error:
        raise ValueError(f"agents: {row['id']!r}: {error}") from None
