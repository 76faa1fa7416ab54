"""A batch of books cleared and settled, against the slow twin agent by agent; energy and money are conserved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from market.clearing.batch import clear_batch
from market.clearing.books import Book
from market.community.agents import Fleet
from market.simulation.settlement import settle
from strategies import RULES, batteries, books, configs, exactly, grids, tariffs

LAST = 30.0
SHORT = settings(max_examples=max(1, settings.default.max_examples // 2))
BALANCE = (("generation", "bought", "imported", "discharged"), ("demand", "sold", "exported", "charged"))


def stack(markets: list[dict], size: int) -> Book:
    """Books of one order per agent as a batch: agent i at place i, nothing ordered by those who have no order."""
    shape = (len(markets), size)
    book = {name: np.zeros(shape, np.int64) for name in ("price", "quantity", "reputation", "partner", "arrival")}
    book |= {"is_buy": np.zeros(shape, bool)}
    book["partner"][:] = oracle.NO_PARTNER
    for e, market in enumerate(markets):
        for o in oracle.read(**market):
            for name in ("price", "quantity", "reputation", "partner", "is_buy"):
                book[name][e, o.agent] = getattr(o, name)
    columns = {name: book[name] for name in ("price", "quantity", "reputation", "partner", "is_buy")}
    agent, node = (np.broadcast_to(ids, shape) for ids in (np.arange(size), np.arange(size) % 5))
    return Book(**columns, by_arrival=np.tile(np.arange(size), (len(markets), 1)), agent=agent, node=node)


@st.composite
def communities(draw):
    """E markets of N agents with their tariffs, energy, and batteries."""
    size, count = draw(st.sampled_from([8, 6, 2, 1])), draw(st.sampled_from([2, 1]))
    markets = []
    for _ in range(count):
        book = draw(books(size, own_agents=True))
        order = np.argsort(book["agent"])  # equal arrivals then go by place, as in the batch
        book = {name: [column[i] for i in order] for name, column in book.items()}
        markets.append(book | {"arrival": [float(a) for a in book["agent"]], "node": [a % 5 for a in book["agent"]]})
    energies = st.sampled_from([0.0, 0.25, 3.0, 50.0])
    profiles = st.lists(st.lists(energies, **exactly(size)), **exactly(count))
    fleet = draw(st.lists(batteries(), **exactly(size)))
    return markets, draw(profiles), draw(profiles), fleet, draw(st.lists(tariffs(), **exactly(count)))


def settled(community, config, grid):
    markets, generation, demand, fleet, terms = community
    stored, *limits = np.array(fleet, float).T  # power is energy: the step is an hour
    book = stack(markets, len(fleet))
    feed_in, utility = (np.array([t[name] for t in terms]) for name in ("feed_in_tariff", "utility_price"))
    cleared = clear_batch(book, config, feed_in, utility, np.full(len(markets), LAST), grid, 1.0)
    energy = np.broadcast_to(stored, book.price.shape)
    fleet = Fleet(*limits[:2], stored, *limits[2:])
    made, used = np.array(generation), np.array(demand)
    result = settle(cleared, book.is_buy, made, used, energy, fleet, feed_in, utility)
    for one, total in zip(result.pop("account"), result.pop("sums"), strict=True):
        np.testing.assert_array_equal(one.sum(1), total)
    return cleared, result


@SHORT
@given(communities(), st.data(), st.none() | grids())
@pytest.mark.parametrize("rule", RULES)
def test_a_batch_settles_as_the_twin_does_market_by_market(rule, community, data, grid):
    config = data.draw(configs((rule,)))
    cleared, result = settled(community, config, grid)
    markets, generation, demand, fleet, terms = community
    for e, market in enumerate(markets):
        twin = oracle.clear_book(market, config, grid=grid, last_price=LAST, **terms[e])
        mine = cleared.market == e
        buyer, seller = (order[mine] % len(fleet) for order in (cleared.bid_order, cleared.ask_order))
        assert buyer.tolist() == [t.buyer for t in twin.stage(1, 2)]
        assert seller.tolist() == [t.seller for t in twin.stage(1, 2)]
        accounts, dso = oracle.settle(twin.trades, generation[e], demand[e], fleet, **terms[e])
        names = ("charged", "discharged", "imported", "exported", "energy", "cost")
        columns = {name: result[name] for name in names}
        columns["bought"] = result["bought_p2p"] + result["bought_dso"]
        columns["sold"] = result["sold_p2p"] + result["sold_dso"]
        for name, values in columns.items():
            expected = [getattr(account, name) for account in accounts]
            np.testing.assert_allclose(values[e], expected, rtol=1e-9, atol=1e-9, err_msg=name)
        assert result["dso_income"][e] == pytest.approx(dso, rel=1e-9, abs=1e-9)


@SHORT
@given(communities(), st.data(), st.none() | grids())
@pytest.mark.parametrize("rule", RULES)
def test_energy_and_money_are_conserved(rule, community, data, grid):
    config = data.draw(configs((rule,)))
    _, result = settled(community, config, grid)
    known = {"generation": np.array(community[1]), "demand": np.array(community[2])}
    known |= {"bought": result["bought_p2p"] + result["bought_dso"], "sold": result["sold_p2p"] + result["sold_dso"]}
    known |= {name: result[name] for name in ("imported", "exported", "charged", "discharged")}
    supply, use = (sum(known[name] for name in names) for names in BALANCE)
    np.testing.assert_allclose(supply, use, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result["bought_p2p"].sum(1), result["sold_p2p"].sum(1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(result["cost"].sum(1), result["dso_income"], rtol=1e-9, atol=1e-9)
    assert not (result["imported"] * result["exported"]).any()  # nobody does both
    for values in (result["imported"], result["exported"], result["charged"], result["discharged"], result["fee"]):
        assert (values >= 0).all()


@given(communities(), configs(), st.none() | grids())
def test_a_batch_equals_its_markets_alone(community, config, grid):
    markets, generation, demand, fleet, terms = community
    _, together = settled(community, config, grid)
    for e in range(len(markets)):
        one = ([markets[e]], [generation[e]], [demand[e]], fleet, [terms[e]])
        _, alone = settled(one, config, grid)
        for name, values in together.items():
            np.testing.assert_array_equal(values[e], alone[name][0], err_msg=name)
            assert values.dtype == np.float64, name


@given(communities(), configs(), grids())
def test_fees_reach_the_dso(community, config, grid):
    cleared, result = settled(community, config, grid)
    by_market = np.zeros(len(community[0]))
    np.add.at(by_market, cleared.market, cleared.network.fee)
    np.testing.assert_allclose(result["fee"].sum(1), by_market, rtol=1e-9, atol=1e-15)
