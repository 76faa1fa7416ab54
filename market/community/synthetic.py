"""Synthetic generation and demand for any horizon and step, and the DSO's prices.

Household k depends on the seed and on k alone. Time starts at midnight. Power is a function of time: profiles of 15
minutes add up to those of an hour, and a longer horizon begins with the shorter one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from market.community.series import Source, as_profile, numbers_of
from market.constants import MAX_PRICE, PRICE_TICK
from market.support import check
from market.support.arrays import Bools, Floats, Ints
from market.support.rng import HOUSEHOLD_STREAM, TARIFF_STREAM, WEATHER_STREAM, uniform

_TRAITS, _CLOUDS, _HABITS = range(3)  # what a household's random numbers are for
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2

CONSUMERS, BUSINESSES = 0.3, 0.2
"""Shares of the households without PV and of those with the demand of a business."""
PV_SIZE, DEMAND_LEVEL = (0.6, 1.0), (0.2, 0.4)
"""Ranges of peak PV power and mean demand, both per capacity."""
GREY_LOSS, CLOUD_LOSS = 0.3, 0.2
"""Largest share of the sun that a grey day takes from all, and passing clouds from one household."""
DEMAND_NOISE = 0.2
"""Demand moves around its daily course by at most this share."""
BLOCK = 100
"""Households computed at once, so that what is between stays in the cache."""
HAZE = 0.059
"""Optical depth of the clear sky in Haurwitz's model."""

NIGHT_BAND, DAY_BAND, EVENING_BAND, BAND_SWING = 0.5, 0.7, 0.88, 0.08
"""Utility price by time of use, and how far an episode moves it, in shares of the way from min_price to max_price."""
TARIFF_RANGE = (0.05, 0.25)
"""Range of the feed-in tariff, likewise."""


def _course(base: float, peaks: Sequence[tuple[float, float, float]], hour: Floats) -> Floats:
    """Demand at `hour`, relative to its mean over a day; same shape.

    base + sum over the peaks of height x exp(-((hour - centre) / width)^2), scaled.

    peaks: (centre h, width h, height) of each.
    """
    total, mean = np.full_like(hour, base), base
    for centre, width, height in peaks:
        away = (hour - centre + 12) % 24 - 12  # the short way round the clock
        total += height * np.exp(-np.square(away / width))
        mean += height * width * math.sqrt(math.pi) / 24
    return total / mean


home = partial(_course, 0.5, ((7.5, 1.25, 1.0), (19.0, 2.0, 1.2)))
business = partial(_course, 0.4, ((13.0, 4.5, 2.0),))


def _sun(turn: Floats, hour: Floats) -> Floats:
    """Share of its peak power that a panel turned by `turn` [N, 1] (radians, east < 0 < west) gives at `hour` [T].

    Haurwitz (1945), J. Meteorology 2:154-166, at the equinox on the equator, where the sun stands at the hour angle w:
    light exp(-0.059 / cos w), seen under the angle w - turn; zero from 18 to 6 h.
    """
    angle = (hour % 24 - 12) * math.pi / 12
    height = np.maximum(np.cos(angle), 1e-9)  # below the horizon the exponential is exactly 0
    return np.exp(HAZE - HAZE / height) * np.maximum(np.cos(angle) * np.cos(turn) + np.sin(angle) * np.sin(turn), 0.0)


def _daily(steps: int, curve: Curve, hour: Floats) -> Floats:
    """A curve that is the same every day of `steps` steps, read at `hour` [..., T], which grows evenly."""
    values = curve(hour[..., :steps])
    return np.asarray(values[..., np.arange(hour.shape[-1]) % steps])


def between(knots: Floats, place: Floats) -> Floats:
    """`knots` [..., H], joined by straight lines and read at the positions `place` >= 0, in units of the knots."""
    before = place.astype(np.int64)
    weight = place - before
    low, high = knots[..., before], knots[..., before + 1]  # copies, which may be large
    low *= 1 - weight
    high *= weight
    low += high
    return low


@dataclass(frozen=True, eq=False)
class Traits:
    """What N households are like, whatever their profiles come from."""

    size: Floats  # peak PV power per capacity [N, 1], 0 without PV
    turn: Floats  # of the panels from the south [N, 1], radians, east < 0 < west
    is_business: Bools  # whether the demand is that of a business [N, 1]
    level: Floats  # mean demand per capacity [N, 1]
    late: Floats  # hours by which the day begins late [N, 1]
    clouds: Floats  # in [0, 1], for each whole hour [N, H]
    habits: Floats  # in [0, 1], for each whole hour [N, H]
    grey: Floats  # in [0, 1], for each day [D]

    @classmethod
    def of(cls, household: Ints, seed: int, hours: int) -> Traits:
        """The households numbered `household` [N] of a seed, for so many hours."""
        traits = uniform(seed, household, _TRAITS, HOUSEHOLD_STREAM, 5)[:, :, None]
        common = uniform(seed, np.zeros(1, np.int64), 0, WEATHER_STREAM, hours // 24 + 2)[0]
        # Owners of PV: household 0, and by the golden ratio an even share of every run of households, however short.
        rank = (CONSUMERS + (1 - CONSUMERS) * common[0] + household * GOLDEN_RATIO) % 1
        return cls(
            size=(rank[:, None] >= CONSUMERS) * (PV_SIZE[0] + traits[:, 0] * (PV_SIZE[1] - PV_SIZE[0])),
            turn=(traits[:, 1] - 0.5) * math.pi / 2,
            is_business=traits[:, 2] < BUSINESSES,
            level=DEMAND_LEVEL[0] + traits[:, 3] * (DEMAND_LEVEL[1] - DEMAND_LEVEL[0]),
            late=2 * traits[:, 4] - 1,
            clouds=uniform(seed, household, _CLOUDS, HOUSEHOLD_STREAM, hours + 1),
            habits=uniform(seed, household, _HABITS, HOUSEHOLD_STREAM, hours + 1),
            grey=common[1:],
        )


Curve = Callable[[Floats], Floats]
"""A function of hours since the first midnight, [T] or [N, T], relative to a peak or a mean; same shape or [N, T]."""
Shapes = Callable[[int, Floats], Sequence[Curve]]
"""Demand of homes, of businesses, and light on panels, from a number of hours and the turn of the panels [N, 1]."""


def check_capacity(capacity: ArrayLike) -> Floats:
    """A copy of the rated powers [N], kW, or a one-line ValueError."""
    return check.array("capacity", capacity, ("agents",), low=0.0, high=1e9, allowed="finite numbers from 0 to 1e9 kW")


def profiles_of(
    shapes: Shapes, capacity: ArrayLike, steps: int, seed: int, step_hours: float, first: int = 0
) -> tuple[Floats, Floats]:
    """Generation and demand [N, T], kWh, of households with these daily courses: the midpoint rule on quarter hours.

    capacity: [N] kW.
    first: number of the first household.
    """
    rated = check_capacity(capacity)
    steps, first = check.whole("steps", steps), check.whole("first", first, low=0)
    step_hours = check.number("step_hours", step_hours, 1e-6, 24.0, "h")
    hours, households = math.ceil(steps * step_hours), first + np.arange(len(rated))
    traits = Traits.of(households, check.seed(seed), hours)
    at_home, at_work, light = shapes(hours, traits.turn)
    generation, demand = np.zeros((2, len(rated), steps))
    parts = max(1, round(step_hours / 0.25))
    for part in range(parts):
        hour = (np.arange(steps, dtype=np.float64) * parts + part + 0.5) * (step_hours / parts)
        grey = traits.grey[(hour // 24).astype(np.int64)]
        sky = (1 - GREY_LOSS * grey) * (1 - CLOUD_LOSS * between(traits.clouds, hour))
        generation += traits.size * light(hour) * sky
        late = hour - traits.late
        habits = traits.level * (1 - DEMAND_NOISE + 2 * DEMAND_NOISE * between(traits.habits, hour))
        demand += np.where(traits.is_business, at_work(late), at_home(late)) * habits
    return generation * (step_hours / parts) * rated[:, None], demand * (step_hours / parts) * rated[:, None]


def synthetic_profiles(
    capacity: ArrayLike, steps: int, seed: int = 42, step_hours: float = 1.0, first: int = 0
) -> tuple[Floats, Floats]:
    """Generation and demand of N households, each [N, T], kWh per step.

    capacity: [N] kW.
    steps: T.
    step_hours: h.
    first: number of the first household.

    Generation stays below the capacity and is zero at night; demand is about 0.3 x capacity on average and nearly
    reaches the capacity at its peak. Some households only consume, some are shops.
    """

    def shapes(_hours: int, turn: Floats) -> list[Curve]:
        day = int(24 / step_hours) if (24 / step_hours).is_integer() else steps
        return [partial(_daily, day, curve) for curve in (home, business, partial(_sun, turn))]

    rated, first = check_capacity(capacity), check.whole("first", first, low=0)
    step_hours = check.number("step_hours", step_hours, 1e-6, 24.0, "h")
    blocks = [
        profiles_of(shapes, rated[place : place + BLOCK], steps, seed, step_hours, first + place)
        for place in range(0, max(1, len(rated)), BLOCK)
    ]
    generation, demand = (np.concatenate(each) for each in zip(*blocks, strict=True))
    return generation, demand


class DERProfileHandler:
    """Profiles of one household after another: call k gives household k of the seed, as in `synthetic_profiles`."""

    def __init__(self, seed: int = 42) -> None:
        self.seed = check.seed(seed)
        self.household = 0
        """Number of the next household."""

    def get_energy_profiles(self, steps: int, capacity: float, step_hours: float = 1.0) -> tuple[Floats, Floats]:
        """Generation and demand of the next household, each [T], kWh per step. capacity: kW. step_hours: h."""
        rated = check.number("capacity", capacity, 0.0, 1e9, "kW")
        (generation,), (demand,) = synthetic_profiles([rated], steps, self.seed, step_hours, self.household)
        self.household += 1
        return generation, demand


@dataclass(frozen=True, eq=False)
class DSOProfileHandler:
    """Prices of the DSO: drawn for each episode, or measured ones that every episode shares.

    min_price, max_price: limits of both prices, $/MWh.
    feed_in_tariff, utility_price: None for drawn ones; measured ones are a number, an array [T] or a CSV file with one
        column, $/MWh, and the tariff lies below the price at every step.
    """

    min_price: float
    max_price: float
    feed_in_tariff: Source | None = None
    utility_price: Source | None = None

    def __post_init__(self) -> None:
        low = check.number("min_price", self.min_price, 0.0, MAX_PRICE, "$/MWh")
        high = check.number("max_price", self.max_price, 0.0, MAX_PRICE, "$/MWh")
        if high - low < PRICE_TICK:
            raise ValueError(f"min_price: got {low!r}; allowed: below max_price = {high!r} $/MWh")
        if self.feed_in_tariff is None and self.utility_price is None:
            return
        for field in ("feed_in_tariff", "utility_price"):
            source = getattr(self, field)
            if source is None:
                raise ValueError(f"{field}: got None; allowed: a profile, as the other price has one")
            values = numbers_of(source, field, (0, 1))
            check.refuse(field, values, (values < low) | (values > high), f"{low:g} to {high:g} $/MWh")
            vars(self)[field] = values
        tariff, price = np.asarray(self.feed_in_tariff), np.asarray(self.utility_price)
        if tariff.ndim and price.ndim:
            check.array("utility_price", price, tariff.shape, allowed="as many as in feed_in_tariff")
        tariff, price = np.broadcast_arrays(tariff, price)
        check.refuse("feed_in_tariff", tariff, tariff >= price, "below utility_price at every step")

    def get_price_profiles(
        self, steps: int, seed: int = 42, episode: ArrayLike = 0, step_hours: float = 1.0
    ) -> tuple[Floats, Floats]:
        """Feed-in tariff and utility price, each [E, T], $/MWh, of the episodes numbered `episode` ([E], or one).

        Drawn prices have min_price <= tariff < price <= max_price. The price has three bands (night 22 to 7 h, evening
        17 to 21 h, day) that move up and down together by the episode; the tariff is flat and well below them.
        """
        steps = check.whole("steps", steps)
        numbers = np.atleast_1d(check.episodes(episode, (), ("episodes",)))
        if self.feed_in_tariff is not None and self.utility_price is not None:
            tariff = as_profile(self.feed_in_tariff, steps, len(numbers), "feed_in_tariff")
            return tariff, as_profile(self.utility_price, steps, len(numbers), "utility_price")
        step_hours = check.number("step_hours", step_hours, 1e-6, 24.0, "h")
        level = uniform(check.seed(seed), numbers, 0, TARIFF_STREAM, 2)
        hour = (np.arange(steps) + 0.5) * step_hours % 24
        band = np.select([(hour < 7) | (hour >= 22), (hour >= 17) & (hour < 21)], [NIGHT_BAND, EVENING_BAND], DAY_BAND)
        price = band + BAND_SWING * (2 * level[:, :1] - 1)
        tariff = np.broadcast_to(TARIFF_RANGE[0] + level[:, 1:] * (TARIFF_RANGE[1] - TARIFF_RANGE[0]), price.shape)
        span = self.max_price - self.min_price
        return self.min_price + span * tariff, self.min_price + span * price
