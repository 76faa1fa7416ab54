"""Communities from tables, CSV and Parquet: a round trip is exact, and what cannot be read is named."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from market import DERAgent, DSOProfileHandler, Scenario
from market.community.series import resample
from market.community.tables import BATTERY, load_community, save_community
from market.envs import MarketVectorEnv

MIXED = ("prosumer", "consumer", "producer", "storage")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_community_comes_back_to_the_last_bit(tmp_path, kind):
    scenario = Scenario.study(5, kinds=MIXED, max_steps=12, step_hours=0.5)
    save_community(scenario, tmp_path, kind)
    loaded = load_community(tmp_path)
    assert [agent.id for agent in loaded.agents] == [agent.id for agent in scenario.agents]
    assert [agent.battery for agent in loaded.agents] == [agent.battery for agent in scenario.agents]
    for name in ("capacity", "generation", "demand"):
        np.testing.assert_array_equal(getattr(loaded.params, name), getattr(scenario.params, name), err_msg=name)
    assert (loaded.max_steps, loaded.step_hours) == (12, 0.5)


ODD = [
    "NA",
    "nan",
    "null",
    "None",
    "",
    " ",
    "1",
    "01",
    "1e3",
    "\ufeffid",
    "a\rb",
    "a\r\nb",
    "\n",
    "'",
    '"',
    "a,b",
    "\0",
    "id",
    "é",
]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@given(ids=st.lists(st.sampled_from(ODD) | st.text(st.characters(codec="utf-8")), min_size=1, max_size=9, unique=True))
@example(ids=ODD)
@example(ids=[""])
@example(ids=["\ufeff"])
def test_any_text_is_an_id(kind, ids):
    agents = [DERAgent(name, 1.0, None, [float(i)], [1 / (i + 3)]) for i, name in enumerate(ids)]
    with tempfile.TemporaryDirectory() as folder:
        save_community(Scenario(agents, max_steps=1), folder, kind)
        loaded = load_community(folder)
    assert [(agent.id, agent.generation_profile[0, 0], agent.demand_profile[0, 0]) for agent in loaded.agents] == [
        (agent.id, agent.generation_profile[0], agent.demand_profile[0]) for agent in agents
    ]


@pytest.mark.parametrize("name", [7, None, b"a", np.nan, ("a",)])
def test_an_id_is_text(name, tmp_path):
    with pytest.raises(ValueError, match=r"id: got .*; allowed: "):
        DERAgent(name, 1.0, None, [1.0], [1.0])
    pd.DataFrame({"id": [7], "capacity": [1.0]}).to_parquet(write(tmp_path) / "agents.parquet")
    with pytest.raises(ValueError, match="agents: got ids of int64; allowed: text"):
        load_community(tmp_path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("call", range(6))
def test_a_full_disk_leaves_the_community_before_as_it_was(tmp_path, monkeypatch, kind, call):
    save_community(Scenario.study(2, dso_profile_handler=DSOProfileHandler(40, 240, 50.0, 100.0)), tmp_path, "csv")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    calls, sync = iter(range(9)), os.fsync
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: sync(file) if next(calls) < call else os.close(-1))
        with contextlib.nullcontext() if call > 3 else pytest.raises(OSError, match="Bad file"):
            save_community(Scenario.study(3), tmp_path, kind)
    if call <= 3:  # of four tables
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    else:
        assert {path.name for path in tmp_path.iterdir()} == {
            f"{name}.{kind}" for name in ("agents", "generation", "demand", "steps")
        }


def test_what_cannot_be_written_leaves_the_community_before_as_it_was(tmp_path):
    save_community(Scenario.study(2), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for kind in ("csv", "parquet"):
        with pytest.raises(ValueError, match="surrogates not allowed"):
            save_community(Scenario([DERAgent("\udcff", 1.0, None, [1.0], [1.0])], max_steps=1), tmp_path, kind)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_saved_community_keeps_its_prices_and_replaces_the_one_before(tmp_path):
    prices = DSOProfileHandler(40, 240, [50.0] * 24, np.linspace(100, 200, 24))
    save_community(Scenario.study(2, dso_profile_handler=prices), tmp_path, "parquet")
    loaded = load_community(tmp_path).dso_profile_handler
    np.testing.assert_array_equal(loaded.utility_price, prices.utility_price)
    np.testing.assert_array_equal(loaded.feed_in_tariff, prices.feed_in_tariff)
    save_community(Scenario.study(5), tmp_path)
    again = load_community(tmp_path)
    assert len(again.agents) == 5
    assert again.dso_profile_handler is None or again.dso_profile_handler.feed_in_tariff is None


def write(folder, **tables):
    base = {
        "agents": "id,capacity,node,nominal_capacity\n007,10,1,20\nshop,50,,\n",
        "generation": "007\n" + "1.5\n" * 4,
        "demand": "shop,007\n" + "10,2\n" * 4,
        "tariffs": "feed_in_tariff,utility_price\n50,150\n50,150\n60,180\n60,180\n",
    }
    for name, text in (base | tables).items():
        if text is not None:
            (folder / f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_a_small_community_from_csv(tmp_path):
    scenario = load_community(write(tmp_path), max_error=0.0)
    home, shop = scenario.agents
    assert (home.id, home.capacity, home.node, home.battery.nominal_capacity) == ("007", 10.0, 1, 20.0)
    assert (shop.id, shop.battery, shop.node) == ("shop", None, None)
    assert shop.generation_profile.tolist() == [[0.0] * 4]
    assert shop.demand_profile.tolist() == [[10.0] * 4]
    assert scenario.max_error == 0.0
    env = MarketVectorEnv(scenario)
    env.reset(seed=0)
    assert env.start.utility_price.tolist() == [[150.0, 150.0, 180.0, 180.0]]


def test_hourly_tables_in_quarter_hours(tmp_path):
    scenario = load_community(write(tmp_path), step_hours=0.25)
    assert scenario.max_steps == 16
    np.testing.assert_allclose(scenario.params.demand.sum(1), [[8.0, 40.0]])
    np.testing.assert_allclose(scenario.params.demand[..., 1], 2.5)
    tariffs = scenario.dso_profile_handler
    assert tariffs is not None
    np.testing.assert_allclose(tariffs.get_price_profiles(16)[1][0], np.repeat([150.0, 180.0], 8))
    assert load_community(tmp_path, step_hours=2.0).max_steps == 2


def test_drawn_and_given_tariffs(tmp_path):
    folder = write(tmp_path, tariffs=None)
    assert load_community(folder).dso_profile_handler is None
    handler = DSOProfileHandler(40, 240)
    assert load_community(write(tmp_path), dso_profile_handler=handler).dso_profile_handler is handler


BAD = {
    "half a node": (
        {"agents": "id,capacity,node\n007,10,1.5\nshop,50,\n"},
        "agents: '007': node: got 1.5; allowed: a whole number",
    ),
    "word": (
        {"agents": "id,capacity,node\n007,10,x\nshop,50,\n"},
        "agents: '007': node: got 'x'; allowed: a whole number",
    ),
    "steps": ({"steps": "hours\n1\n2\n"}, r"steps: got 2 rows of \['hours'\]; allowed: a column hours of one row"),
    "no table": ({"demand": None}, r"demand: got no demand\.parquet or demand\.csv in "),
    "empty": ({"agents": ""}, r"agents: got '.*agents\.csv'; allowed: a table that can be read"),
    "column": ({"agents": "id,capacty\na,1\n"}, r"column of agents: got 'capacty'.*did you mean 'capacity'"),
    "no capacity": ({"agents": "id,capacity\n007,\nshop,3\n"}, "agents: got no capacity for some agent"),
    "stranger": ({"demand": "shpo\n" + "1\n" * 4}, r"demand: got the column 'shpo'.*did you mean 'shop'"),
    "rows": ({"generation": "007\n1\n"}, "generation: got 1 rows; allowed: 4, as in demand"),
    "text": ({"demand": "shop\n" + "much\n" * 4}, r"demand, 'shop': got \['much', .*; allowed: finite numbers"),
    "hole": ({"demand": "shop,007\n1,1\n1,\n1,1\n1,1\n"}, r"demand, '007': got nan at 1; allowed: finite"),
    "half a battery": (
        {"agents": "id,capacity,min_soc\n007,1,0.2\nshop,3,\n"},
        "agents: '007': nominal_capacity: got none with min_soc",
    ),
    "one price": ({"tariffs": "utility_price\n" + "150\n" * 4}, "tariffs: got no column 'feed_in_tariff'"),
    "column twice": (
        {"demand": "shop,shop\n" + "1,1\n" * 4},
        "demand: got .*that can be read .no header, or a column twice",
    ),
    "long row": ({"demand": "shop\n1\n1,2\n1\n1\n"}, "demand: got .* .2 cells in the row .*, 1 in the header"),
    "latin": (
        {"agents": b"id,capacity\n\xe9,1\n"},
        "agents: got .*agents.csv.*; allowed: a table that can be read .*utf-8",
    ),
    "crossed": (
        {"tariffs": "feed_in_tariff,utility_price\n" + "150,100\n" * 4},
        "feed_in_tariff: got 150.0 at 0; allowed: below",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_named(tmp_path, name):
    tables, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        load_community(write(tmp_path, **tables))


def test_an_unknown_format(tmp_path):
    with pytest.raises(ValueError, match="kind: got 'parqet'; allowed: csv, parquet; did you mean 'parquet'"):
        save_community(Scenario.study(1), tmp_path, "parqet")


def test_every_field_of_a_battery_is_kept(tmp_path):
    save_community(Scenario.study(2), tmp_path)
    assert set(BATTERY) <= set(pd.read_csv(tmp_path / "agents.csv").columns)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("powers", [(None, 7.5), (None, None), (0.0, 1 / 3)])
def test_the_power_of_a_battery_is_kept_and_none_stays_none(tmp_path, kind, powers):
    agents = [
        replace(agent, battery=replace(agent.battery, power=power))
        for agent, power in zip(Scenario.study(2).agents, powers, strict=True)
    ]
    save_community(Scenario(agents), tmp_path, kind)
    assert tuple(agent.battery.power for agent in load_community(tmp_path).agents) == powers


# --- other steps


def test_resampling_keeps_the_energy():
    energy = np.array([[1.0, 2.0, 4.0, 8.0], [0.0, 1.0, 0.0, 1.0]])
    np.testing.assert_allclose(resample(energy, 1.0, 16, 0.25), np.repeat(energy / 4, 4, axis=1))
    np.testing.assert_allclose(resample(energy, 1.0, 2, 2.0), [[3.0, 12.0], [1.0, 1.0]])
    np.testing.assert_allclose(resample(energy, 1.0, 3, 1.0), energy[:, :3])
    odd = resample(energy, 1.0, 5, 0.8)
    np.testing.assert_allclose(odd.sum(1), energy.sum(1))
    np.testing.assert_allclose(odd[0], [0.8, 0.2 + 1.2, 0.8 + 1.6, 2.4 + 1.6, 6.4])


@pytest.mark.parametrize(("steps", "step_hours"), [(17, 0.25), (5, 1.0)])
def test_series_that_are_too_short(steps, step_hours):
    with pytest.raises(ValueError, match="energy: got 4 values, 4 h; allowed: at least"):
        resample(np.ones(4), 1.0, steps, step_hours)


@pytest.mark.parametrize("energy", [[1.0, -1.0], [np.nan, 1.0], 3.0])
def test_what_is_resampled_is_energy(energy):
    with pytest.raises(ValueError, match=r"energy: got .*; allowed: (finite numbers >= 0|\[steps\])"):
        resample(energy, 1.0, 2, 1.0)
