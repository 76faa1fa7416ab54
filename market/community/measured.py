"""Profiles from measured averages: BDEW's standard load profiles of 2025, and PV under the clear sky of a place.

Both sources come with the extra `data`: `demandlib` (MIT) holds the load profiles (H25 from household meters of 2018
and 2019, G25 from business meters of 2022 and 2023), and `pvlib` (BSD-3) computes the sun (NREL's SPA) and Ineichen's
clear sky from monthly turbidity (SoDa, Linke). All other traits are those of the synthetic households.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from market.community.synthetic import Curve, between, profiles_of
from market.support import check
from market.support.arrays import Floats
from market.support.extras import needs

QUARTERS = 4
"""Values an hour of the standard load profiles."""
SHIFT = 2
"""Hours read before and after the horizon, for households that are late or early."""
PV_LOSSES = 0.14
"""Share lost between panel and meter (PVWatts, doi:10.2172/1158421)."""
MEAN_YEAR = 8760 / 1e6
"""Power of a load of 1 GWh a year, demandlib's scale, in units of its mean."""
LOADS = dict.fromkeys(("H25", "G25", "L25", "P25", "S25"))
"""BDEW's standard load profiles: households, businesses, farms, and what households with PV, or with PV and storage,
draw from the grid, for agents whose PV is not simulated."""


@dataclass(frozen=True)
class Place:
    """Where and when the horizon begins."""

    latitude: float = 52.52  # degrees
    longitude: float = 13.40  # degrees
    timezone: str = "Europe/Berlin"
    tilt: float = 35.0  # of the panels, degrees
    start: str = "2025-05-12"  # the horizon begins at its midnight
    home: str = "H25"  # load profile of households, one of LOADS
    business: str = "G25"  # and of businesses

    def __post_init__(self) -> None:
        check.number("latitude", self.latitude, -90.0, 90.0, "degrees")
        check.number("longitude", self.longitude, -180.0, 180.0, "degrees")
        check.number("tilt", self.tilt, 0.0, 90.0, "degrees")
        check.instance("start", self.start, str, allowed="a date as '2025-05-12'")
        check.instance("timezone", self.timezone, str, allowed="a zone as 'Europe/Berlin'")
        for field in ("home", "business"):
            check.find(LOADS, getattr(self, field), field)


BERLIN = Place()


def measured_profiles(
    capacity: ArrayLike, steps: int, seed: int = 42, step_hours: float = 1.0, place: Place = BERLIN
) -> tuple[Floats, Floats]:
    """Generation and demand of households 0..N-1, each [N, T], kWh per step.

    capacity: [N] kW.
    steps: T.
    step_hours: h.

    Demand follows the standard load profile of the household's kind, scaled to its yearly consumption (0.2 to 0.4 x
    capacity x 8760 h); by the seed it is up to an hour early or late and up to 20 % off. Generation is PV of 0.6 to 1 x
    capacity under the clear sky, less what the weather takes. ModuleNotFoundError without the extra `data`.
    """

    def shapes(hours: int, turn: Floats) -> list[Curve]:
        times = _times(place, hours)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # both packages use what pandas 4 will drop
            knots = (_load(place.home, times), _load(place.business, times), _light(place, times, turn))
        return [partial(_at, values) for values in knots]

    return profiles_of(shapes, capacity, steps, seed, step_hours)


def _times(place: Place, hours: int) -> Any:
    """Middles of the quarter hours of the horizon, and of SHIFT hours before and after it, as pandas knows them."""
    import pandas as pd

    try:
        midnight = pd.Timestamp(place.start, tz=place.timezone).normalize()
    except (ValueError, KeyError, OSError) as error:  # zoneinfo's for an unknown place is a KeyError, for a part of one
        got = f"start {check.shown(place.start)}, timezone {check.shown(place.timezone)}"
        allowed = f"a date as 2025-05-12 and a zone as Europe/Berlin ({check.shown(error)})"
        raise ValueError(f"place: got {got}; allowed: {allowed}") from None
    first = midnight - pd.Timedelta(hours=SHIFT)
    return pd.date_range(first, periods=(hours + 2 * SHIFT) * QUARTERS, freq="15min")


def _at(knots: Floats, hour: Floats) -> Floats:
    """`knots` [..., Q], at the middles of the quarter hours, joined by straight lines and read at `hour` [..., T]."""
    return between(knots, (hour + SHIFT) * QUARTERS - 0.5)


def _load(name: str, times: Any) -> Floats:
    """A standard load profile at `times`, relative to its mean over the year, [Q]."""
    with needs("data"):
        from demandlib import bdew
    return np.asarray(getattr(bdew, name)(times), np.float64) * MEAN_YEAR


def _light(place: Place, times: Any, turn: Floats) -> Floats:
    """Share of its peak power that a panel turned by `turn` [N, 1] gives under the clear sky, [N, Q].

    Direct light by the angle of incidence, isotropic sky, albedo 0.25; 1 at 1000 W/m2 before losses, cells at 25 C.
    """
    import pandas as pd

    with needs("data"):
        import pvlib
    site = pvlib.location.Location(place.latitude, place.longitude, place.timezone)
    middle = times + pd.Timedelta(minutes=60 / QUARTERS / 2)
    sun = site.get_solarposition(middle)
    sky = site.get_clearsky(middle, model="ineichen", solar_position=sun)
    zenith, azimuth = sun["apparent_zenith"].to_numpy(), sun["azimuth"].to_numpy()
    ghi, dni, dhi = (sky[name].to_numpy() for name in ("ghi", "dni", "dhi"))
    towards = np.sign(place.latitude) if place.latitude else 1.0
    facing = (180.0 if towards > 0 else 0.0) + towards * np.degrees(turn)
    facing_sun = np.maximum(pvlib.irradiance.aoi_projection(place.tilt, facing, zenith, azimuth), 0.0)
    diffuse = pvlib.irradiance.isotropic(place.tilt, dhi) + pvlib.irradiance.get_ground_diffuse(place.tilt, ghi)
    return np.clip((dni * facing_sun + diffuse) / 1000, 0.0, 1.0) * (1 - PV_LOSSES)
