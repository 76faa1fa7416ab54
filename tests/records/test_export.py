"""Exports: what is written is what happened, and `replay` finds every row that was changed, moved or left out."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import fields
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from market import MarketConfig, Scenario
from market.envs import MarketVectorEnv
from market.records.export import export, replay
from market.simulation.history import Flows
from market_support import at_random

STEPS = 6


@pytest.fixture(scope="module")
def played():
    config = MarketConfig(enable_partner_preference=True)
    env = MarketVectorEnv(Scenario.study(6, max_steps=STEPS, market_config=config, kinds=("prosumer", "consumer")), 3)
    return at_random(env, STEPS)


@pytest.fixture(scope="module")
def heads(exported):
    return exported[1]


def test_replay_gives_back_every_number(played, exported):
    verified, history = replay(*exported), played.history()
    for field in fields(Flows):
        np.testing.assert_array_equal(getattr(verified.history, field.name), getattr(history, field.name), field.name)
    np.testing.assert_array_equal(verified.episodes, played.start.episode)
    for i, number in enumerate(played.start.episode):
        assert verified.ledgers[int(number)].head == played.ledger(i).head


def reseal(folder):
    """What a forger does who knows that tables are hashed: the heads in the folder fit its tables again."""
    path = folder / "export.json"
    heads = {name: head for name, head in json.loads(path.read_text()).items() if not name.endswith(".parquet")}
    heads |= {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.parquet")}
    path.write_text(json.dumps(heads))


def test_heads_kept_apart_are_what_counts(heads, copy):
    assert set(replay(copy, json.loads(json.dumps(heads))).ledgers) == {5 * 2**20 + i for i in range(3)}
    chain = f"ledger of episode {5 * 2**20 + 1}"
    for other in (heads | {chain: "0" * 64}, heads | {"ledger of episode 7": heads[chain]}, {}):
        with pytest.raises(
            ValueError, match=r"hash of '.*': got .*; allowed: .*, as in the heads: it was edited, added or left out"
        ):
            replay(copy, other)
    with pytest.raises(ValueError, match="heads: got 'abc'; allowed: what export returned, or None"):
        replay(copy, "abc")
    states = pd.read_parquet(copy / "states.parquet")
    states["saving"] += 1e-9
    states.to_parquet(copy / "states.parquet", index=False)
    reseal(copy)
    replay(copy)  # which nothing but the heads that were kept can tell
    with pytest.raises(ValueError, match=r"hash of 'states\.parquet'"):
        replay(copy, heads)


def test_the_heads_in_the_folder_are_part_of_the_export(heads, copy):
    path = copy / "export.json"
    for name in heads.keys() - {"format"}:
        path.write_text(json.dumps(heads | {name: heads[name][::-1]}))
        for known in (heads, None):
            with pytest.raises(ValueError, match=f"hash of '{name}'"):
                replay(copy, known)


@pytest.mark.parametrize("file", ["tariffs.parquet", "tariffs.csv", "agents.csv"])
def test_a_table_that_the_export_does_not_have(copy, file):
    (copy / file).write_text("feed_in_tariff,utility_price\n50,150\n")
    with pytest.raises(ValueError, match=f"hash of '{file}': got .*; allowed: 'no entry', as in the heads"):
        replay(copy)


@pytest.mark.parametrize("call", [0, 3, 8, 9])
@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_an_export_that_fails_midway_is_the_old_one_or_is_found(played, heads, copy, monkeypatch, name, call):
    other = MarketVectorEnv(Scenario.study(2, max_steps=1))
    other.reset(seed=1)
    other.step(np.zeros(other.action_space.shape))
    calls, place = count(), os if name == "fsync" else Path
    done = getattr(place, name)
    with monkeypatch.context() as patch:

        def fails(*given):
            if next(calls) == call:
                raise OSError("No space left on device")
            return done(*given)

        patch.setattr(place, name, fails)
        if call < 9:
            with pytest.raises(OSError, match="No space"):
                other.export(copy)
        else:  # of nine files
            replay(copy, other.export(copy))
            return
    assert not list(copy.glob(".*"))
    if name == "fsync" or call == 0:
        replay(copy, heads)
    else:
        with pytest.raises(ValueError, match="hash of '"):
            replay(copy)


def change(column, value=0.01, row=3):
    def edit(table):
        table.loc[table.index[row], column] += value
        return table

    return edit


def p2p_row(table):
    return int(np.flatnonzero(table["stage"] < 3)[0])


def swap_trades(table):
    """Two trades of one step and episode change places."""
    first = table[(table["step"] == 2) & (table["episode"] == table["episode"].iloc[0])].index[:2]
    order = table.index.to_numpy().copy()
    order[[first[0], first[1]]] = first[[1, 0]]
    return table.loc[order]


def less_loss(table):
    table.loc[p2p_row(table), "loss"] += 1e-12
    return table


def dearer(table):
    table.loc[p2p_row(table), "price"] += 1.0
    return table


def weaker(table):
    table.loc[0, "power"] = 0.01
    return table


OTHER = r"got (other columns, types, rows or order|some that do not fit together \(.*\)); allowed: "
TAMPERED = {
    "demand": ("states", change("demand"), "balance: generation"),
    "stored": ("states", change("energy"), "battery: before"),
    "cost": ("states", change("cost"), "money: paid by the agents"),
    "income": ("communities", change("dso_income"), "money: "),
    "price of the DSO": ("communities", change("utility_price", 1.0), "money: "),
    "state left out": ("states", lambda table: table.iloc[1:], OTHER),
    "order of the states": (
        "states",
        lambda table: table.iloc[::-1],
        OTHER,
    ),
    "infinite money": ("states", change("cost", np.inf), "money: paid by the agents"),
    "trade of nobody": ("trades", change("buyer", 99), "trades: got an agent without a state; allowed: 0 to 5, or -1"),
    "trade of another day": ("trades", change("episode", -9), OTHER),
    "less work": ("blocks", lambda table: table.assign(difficulty=2), "ledger of episode"),
    "work of one block": ("blocks", change("difficulty", -1), OTHER),
    "trade left out": (
        "trades",
        lambda table: table.drop(p2p_row(table)),
        OTHER,
    ),
    "trade twice": (
        "trades",
        lambda table: pd.concat([table.iloc[:1], table]),
        OTHER,
    ),
    "energy of a trade": ("trades", change("quantity", 0.001), "trades: (bought|sold)_.*: got .* at step"),
    "price of a trade": ("trades", dearer, "trades: cost: got"),
    "places of trades": ("trades", swap_trades, "ledger of episode .*edited or moved"),
    "loss of a trade": ("trades", less_loss, "ledger of episode"),
    "nonce": ("blocks", change("nonce", 1), "ledger of episode"),
    "last block left out": ("blocks", lambda table: table.iloc[:-1], OTHER),
    "blocks moved": ("blocks", lambda table: table.iloc[::-1], OTHER),
    "battery of another": ("agents", change("nominal_capacity", 5.0, row=0), "battery: "),
    "power of another": ("agents", weaker, "battery: charged or discharged within its power: got"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_changed_is_found(copy, name):
    table, edit, message = TAMPERED[name]
    path = copy / f"{table}.parquet"
    edit(pd.read_parquet(path)).to_parquet(path, index=False)
    with pytest.raises(ValueError, match=rf"hash of '{table}\.parquet'"):
        replay(copy)
    reseal(copy)
    with pytest.raises(ValueError, match=message):
        replay(copy)


def test_folders_that_are_no_exports(copy, tmp_path):
    with pytest.raises(ValueError, match=r"folder: got .*; allowed: one that market\.records\.export\.export wrote"):
        replay(tmp_path)
    for odd in ("", "[]", "7", '{"format"', "[" * 99999, "\udcff"):
        (copy / "export.json").write_text(odd, errors="surrogateescape")
        with pytest.raises(ValueError, match=r"folder: got .*; allowed: one that"):
            replay(copy)
    for number in (1, 2, None, "x\ny"):
        (copy / "export.json").write_text(json.dumps({"format": number, "difficulty": 1, "heads": {}}))
        with pytest.raises(ValueError, match=r"format: got .*; allowed: '2'; export the episodes again$"):
            replay(copy)
    with pytest.raises(ValueError, match="export: got 0 steps"):
        export(tmp_path, Scenario.study(1), np.zeros(1, np.int64), [])
