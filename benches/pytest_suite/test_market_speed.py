"""The market's share: clearing, power flow, the environment step, scenarios, the ledger, reference policies."""

from collections.abc import Callable

import pytest

Measure = Callable[[], None]


@pytest.mark.cases("clear")
def test_clearing(measure: Measure) -> None:
    measure()


@pytest.mark.cases("powerflow")
def test_power_flow(measure: Measure) -> None:
    measure()


@pytest.mark.cases("step")
def test_environment_step(measure: Measure) -> None:
    measure()


@pytest.mark.cases("scenario")
def test_scenario_construction(measure: Measure) -> None:
    measure()


@pytest.mark.cases("ledger")
def test_ledger_block(measure: Measure) -> None:
    measure()


@pytest.mark.cases("reference")
def test_reference(measure: Measure) -> None:
    measure()
