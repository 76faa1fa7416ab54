"""LinDistFlow and ratings against the Newton-Raphson power flow of power-grid-model on both feeders.

The published loads are 3466 kW (IEEE 13) and 1769 kW (IEEE 34); here they are spread over the nodes at random.
"""

from __future__ import annotations

import numpy as np
import pytest

from market import GridNetwork
from market.grid.power_flow import Feeder, power_flow

pgm = pytest.importorskip(
    "power_grid_model", reason="power-grid-model is not installed; pip install -e '.[powerflow]' brings it"
)

LOADS = {"ieee13": 3466.0, "ieee34": 1769.0}
"""Published total of the spot and distributed loads, kW."""
TOLERANCE = {0.25: 5e-4, 0.5: 2e-3}
"""Largest error of any voltage, p.u., at these shares of the published load."""
EXACT = 1e-8
"""Where Newton-Raphson stops, p.u."""
SPREADS = 20
every_feeder = pytest.mark.parametrize("topology", LOADS)


def part(kind: str, size: int, **columns) -> np.ndarray:
    """`size` components of one kind with these attributes."""
    rows = pgm.initialize_array(pgm.DatasetType.input, pgm.ComponentType[kind], size)
    for name, values in columns.items():
        rows[name] = values
    return rows


def rated_voltage(grid) -> np.ndarray:
    """Of each node [n], kV: that of its lines, and of the other end where it has nothing but a switch."""
    kv = np.full(grid.num_nodes, grid.line_voltage[0])
    real = grid.line_length > 0
    for ends in (grid.line_from, grid.line_to):
        kv[ends[real]] = grid.line_voltage[real]
    return kv


def newton(grid, injection: np.ndarray, power_factor: float = 1.0, ampacity: float = 1.0) -> dict:
    """Tables of what follows from what the nodes feed in less what they take [n], kW; ampacity: of the lines, A."""
    n, kv = grid.num_nodes, rated_voltage(grid)
    steps = kv[grid.line_from] != kv[grid.line_to]
    ids = n + np.arange(len(steps))

    def between(kind: str, which: np.ndarray, **columns) -> np.ndarray:
        ends = {"from_node": grid.line_from[which], "to_node": grid.line_to[which]}
        return part(kind, which.sum(), id=ids[which], from_status=1, to_status=1, **ends, **columns)

    real = grid.line_length > 0
    ideal = {"sn": 1e9, "uk": 1e-4, "pk": 0, "i0": 0, "p0": 0, "winding_from": 1, "winding_to": 1, "clock": 0}
    taps = {"tap_side": 0, "tap_pos": 0, "tap_min": 0, "tap_max": 0, "tap_size": 0}
    rated = {"u1": 1000 * kv[grid.line_from[steps]], "u2": 1000 * kv[grid.line_to[steps]]}
    ohm = {"r1": grid.line_resistance[real], "x1": grid.line_reactance[real], "c1": 0, "tan1": 0, "i_n": ampacity}
    reactive = np.sqrt(1 - power_factor**2) / power_factor
    model = pgm.PowerGridModel(
        {
            pgm.ComponentType.node: part("node", n, id=np.arange(n), u_rated=1000 * kv),
            pgm.ComponentType.line: between("line", real, **ohm),
            pgm.ComponentType.link: between("link", ~real & ~steps),
            pgm.ComponentType.transformer: between("transformer", steps, **rated, **ideal, **taps),
            pgm.ComponentType.source: part("source", 1, id=10_000, node=0, status=1, u_ref=1.0, sk=1e20),
            pgm.ComponentType.sym_load: part(
                "sym_load",
                n,
                id=20_000 + np.arange(n),
                node=np.arange(n),
                status=1,
                type=pgm.LoadGenType.const_power,
                p_specified=-1000 * injection,
                q_specified=-1000 * injection * reactive,
            ),
        },
        system_frequency=60.0,
    )
    return model.calculate_power_flow(calculation_method=pgm.CalculationMethod.newton_raphson)


def loads(topology: str, nodes: int, share: float, generators: float = 0.0) -> np.ndarray:
    """[SPREADS, nodes] kW: `share` of the published load, less `generators` x the published load fed in elsewhere."""
    rng = np.random.default_rng(13)
    taken, fed = rng.dirichlet(np.ones(nodes), (2, SPREADS))
    return LOADS[topology] * (generators * fed - share * taken)


def errors(topology: str, share: float, power_factor: float = 1.0, generators: float = 0.0) -> np.ndarray:
    """LinDistFlow's voltages less Newton-Raphson's, [SPREADS, nodes], p.u."""
    grid = GridNetwork(topology, 1, 5000.0).to_grid()
    injection = loads(topology, grid.num_nodes, share, generators)
    exact = np.stack([newton(grid, row, power_factor)[pgm.ComponentType.node]["u_pu"] for row in injection])
    feeder = Feeder.of(grid, power_factor)
    assert feeder is not None
    return power_flow(feeder, injection).voltage - exact


@every_feeder
@pytest.mark.parametrize("share", TOLERANCE)
@pytest.mark.parametrize("power_factor", [1.0, 0.95])
def test_voltages_are_those_of_newton_raphson_within_the_tolerance(topology, share, power_factor):
    assert np.abs(errors(topology, share, power_factor)).max() < TOLERANCE[share]


@every_feeder
def test_the_same_holds_where_most_power_comes_from_the_agents(topology):
    assert np.abs(errors(topology, 0.25, generators=0.5)).max() < TOLERANCE[0.5]


@every_feeder
def test_the_error_grows_with_the_square_of_the_load(topology):
    low, high = (np.abs(errors(topology, share)).max(1) for share in (0.125, 0.25))
    assert high / low == pytest.approx(4, abs=0.4)


@every_feeder
@pytest.mark.parametrize("generators", [0.0, 0.5])
def test_without_losses_voltages_come_out_too_high_never_too_low(topology, generators):
    """Gan, Li, Topcu and Low (2015), doi:10.1109/TAC.2014.2332712, lemma on the linear approximation."""
    assert errors(topology, 0.5, generators=generators).min() > -EXACT


@every_feeder
@pytest.mark.parametrize("share", [0.01, 1.0])
def test_flow_by_rating_is_the_loading_of_the_conductor(topology, share):
    """At full load currents are a little larger, for losses and low voltages; no conductor has too much to carry."""
    grid = GridNetwork(topology, 1, 5000.0).to_grid()
    real, injection = grid.line_length > 0, loads(topology, grid.num_nodes, share)
    ampacity = {"ieee13": 730.0, "ieee34": 230.0}[topology]
    exact = [newton(grid, row, ampacity=ampacity)[pgm.ComponentType.line]["loading"] for row in injection]
    feeder = Feeder.of(grid)
    assert feeder is not None
    ours = np.abs(power_flow(feeder, injection).flow) / grid.line_capacity
    assert ours[:, real].max() < 1
    np.testing.assert_allclose(ours[:, real], exact, rtol=share / 4)
