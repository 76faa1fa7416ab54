"""Exports: what is written is what happened, and `replay` finds every row that was changed, moved or left out."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from market import MarketConfig, Scenario
from market.envs import MarketVectorEnv
from market.records.export import export, replay
from market.simulation.history import Flows

STEPS = 6


@pytest.fixture(scope="module")
def played():
    config = MarketConfig(enable_partner_preference=True)
    env = MarketVectorEnv(Scenario.study(6, max_steps=STEPS, market_config=config, kinds=("prosumer", "consumer")), 3)
    env.action_space.seed(0)
    env.reset(seed=5)
    for _ in range(STEPS):
        env.step(env.action_space.sample())
    return env


@pytest.fixture(scope="module")
def exported(played, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    played.export(folder)
    return folder


@pytest.fixture
def copy(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "copy")
    return tmp_path / "copy"


def test_replay_gives_back_every_number(played, exported):
    verified, history = replay(exported), played.history()
    for field in fields(Flows):
        np.testing.assert_array_equal(getattr(verified.history, field.name), getattr(history, field.name), field.name)
    np.testing.assert_array_equal(verified.episodes, played.start.episode)
    for i, number in enumerate(played.start.episode):
        assert verified.ledgers[int(number)].head == played.ledger(i).head


def test_heads_kept_apart_are_what_counts(played, exported, copy):
    heads = {int(number): (played.ledger(i).head, STEPS) for i, number in enumerate(played.start.episode)}
    replay(exported, heads)
    other = dict(heads)
    other[int(played.start.episode[1])] = ("0" * 64, STEPS)
    with pytest.raises(ValueError, match=r"ledger of episode .*unchanged"):
        replay(exported, other)
    with pytest.raises(ValueError, match=r"ledger of episode .*unchanged"):
        replay(exported, {})
    with pytest.raises(ValueError, match="episodes: got"):
        replay(exported, heads | {7: heads[int(played.start.episode[0])]})


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


TAMPERED = {
    "demand": ("states", change("demand"), "balance: generation"),
    "stored": ("states", change("energy"), "battery: before"),
    "cost": ("states", change("cost"), "money: paid by the agents"),
    "income": ("communities", change("dso_income"), "money: "),
    "price of the DSO": ("communities", change("utility_price", 1.0), "money: "),
    "state left out": ("states", lambda table: table.iloc[1:], "states: got .* rows; allowed: "),
    "trade left out": ("trades", lambda table: table.drop(p2p_row(table)), "bought_p2p: got .* in the trades of step"),
    "trade twice": ("trades", lambda table: pd.concat([table, table.iloc[:1]]), "(bought|sold)_.*: got"),
    "price of a trade": ("trades", dearer, "cost: got .* as in its state"),
    "places of trades": ("trades", swap_trades, "ledger of episode .*edited, moved or left out"),
    "loss of a trade": ("trades", less_loss, "ledger of episode"),
    "nonce": ("blocks", change("nonce", 1), "ledger of episode"),
    "last block left out": ("blocks", lambda table: table.iloc[:-1], "ledger of episode .*got 5 blocks"),
    "blocks moved": ("blocks", lambda table: table.iloc[::-1], "ledger of episode"),
    "battery of another": ("agents", change("nominal_capacity", 5.0, row=0), "battery: "),
    "power of another": ("agents", weaker, "battery: charged or discharged within its power: got"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_changed_is_found(copy, name):
    table, edit, message = TAMPERED[name]
    path = copy / f"{table}.parquet"
    edit(pd.read_parquet(path)).to_parquet(path, index=False)
    with pytest.raises(ValueError, match=message):
        replay(copy)


def test_folders_that_are_no_exports(copy, tmp_path):
    with pytest.raises(ValueError, match=r"folder: got .*; allowed: one that market\.records\.export\.export wrote"):
        replay(tmp_path)
    summary = json.loads((copy / "export.json").read_text())
    (copy / "export.json").write_text(json.dumps(summary | {"format": 99}))
    with pytest.raises(ValueError, match="format: got 99; allowed: 1"):
        replay(copy)
    with pytest.raises(ValueError, match="export: got 0 steps"):
        export(tmp_path, Scenario.study(1), np.zeros(1, np.int64), [])
