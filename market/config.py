"""Names, units, limits and validated settings: every default of the study in one place."""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np

PRICE_TICK = 0.01
"""Smallest price step of an order book, $/MWh."""
ENERGY_TICK = 0.001
"""Smallest energy step of an order book, kWh (1 Wh)."""
PER_PRICE, PER_KWH = round(1 / PRICE_TICK), round(1 / ENERGY_TICK)
"""Ticks in 1 $/MWh and in 1 kWh."""
DSO = -1
"""The distribution system operator, wherever an agent id stands."""
NO_PARTNER = -2
"""The `partner` of an order that names nobody."""
MAX_PRICE = (2**23 - 2) * PRICE_TICK
"""Highest price that the packed sort key of an order holds, $/MWh."""

MAX_QUANTITY = 2e6
"""Largest quantity of an order, kWh: 2 GWh in a step, whose Wh fit into 31 bits."""


class ClearingMechanism(StrEnum):
    """How a matched pair is priced; see `market.clearing.pricing.RULES`."""

    AVERAGE = "average"
    BUYER = "buyer"
    SELLER = "seller"
    BID_ASK_SPREAD = "bid_ask_spread"
    NASH_BARGAINING = "nash_bargaining"
    PROPORTIONAL_SURPLUS = "proportional_surplus"
    UNIFORM = "uniform"
    MCAFEE = "mcafee"


class GridTopology(StrEnum):
    """Shape of the distribution grid; see `market.grid.topologies.TOPOLOGIES`."""

    MESH = "mesh"
    RING = "ring"
    LINE = "line"
    STAR = "star"
    TREE = "tree"
    IEEE13 = "ieee13"
    IEEE34 = "ieee34"


class TrainingMode(StrEnum):
    """Who learns from what: C(entralised)/D(ecentralised) T(raining), C/D E(xecution); see `market.rl.modes.MODES`."""

    CTCE = "ctce"
    CTDE = "ctde"
    DTDE = "dtde"


class RLAlgorithm(StrEnum):
    """The learning algorithm; see `market.rl.algorithms.registry.ALGORITHMS`."""

    PPO = "ppo"
    APPO = "appo"
    SAC = "sac"


Kind = TypeVar("Kind", bound=StrEnum)
Entry = TypeVar("Entry")


def nearest(word: str, words: list[str]) -> str:
    """The closest of `words` as a "did you mean" to append to a message, or nothing when none is close."""
    spelled = {w.lower(): w for w in words}
    close = difflib.get_close_matches(word.lower(), list(spelled), n=1, cutoff=0.5)
    return f"; did you mean {spelled[close[0]]!r}?" if close else ""


def choose(kind: type[Kind], value: object, field: str) -> Kind:
    """The member of `kind` that `value` names (a member, or its name or value in any case)."""
    if isinstance(value, kind):
        return value
    names = [member.value for member in kind]
    if isinstance(value, str) and value.lower() in names:
        return kind(value.lower())
    raise ValueError(f"{field}: got {value!r}; allowed: {', '.join(names)}{nearest(str(value), names)}")


def find(registry: Mapping[str, Entry], name: object, field: str) -> Entry:
    """The entry that `name` names, or a one-line ValueError with the names that there are."""
    if not isinstance(name, str) or name not in registry:
        names = list(registry)
        raise ValueError(f"{field}: got {name!r}; allowed: {', '.join(names)}{nearest(str(name), names)}")
    return registry[name]


def check_range(field: str, value: object, low: float = 0.0, high: float = math.inf, unit: str = "") -> float:
    """`value` as a float when it is a number within [low, high], else a one-line ValueError."""
    number = math.nan
    if not isinstance(value, bool | str | bytes):
        with contextlib.suppress(TypeError, ValueError):
            number = float(value)  # type: ignore[arg-type]
    if not (low <= number <= high) or (math.isinf(number) and math.isfinite(high)) or number == math.inf:
        bounds = f"a finite number >= {low:.12g}" if math.isinf(high) else f"{low:.12g} to {high:.12g}"
        raise ValueError(f"{field}: got {value!r}; allowed: {bounds}{' ' + unit if unit else ''}")
    return number


def check_bool(field: str, value: object) -> None:
    """A one-line ValueError unless `value` is True or False: any word would count as True."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{field}: got {value!r}; allowed: True or False")


def check_positive_int(field: str, value: object, low: int = 1) -> int:
    """`value` as an int when it is a whole number >= low, else a one-line ValueError."""
    whole = not isinstance(value, bool) and hasattr(value, "__index__")
    if not whole or int(value) < low:  # type: ignore[call-overload]
        raise ValueError(f"{field}: got {value!r}; allowed: a whole number >= {low}")
    return int(value)  # type: ignore[call-overload]


def check_seed(seed: object) -> None:
    """A one-line ValueError unless `seed` is a whole number that 63 bits hold."""
    if check_positive_int("seed", seed, low=0) >= 2**63:
        raise ValueError(f"seed: got {seed!r}; allowed: 0 to {2**63 - 1}")


@dataclass(frozen=True)
class MarketConfig:
    """Rules of the market. Prices in $/MWh, quantities in kWh, shares as fractions of a trade's value.

    min_price, max_price: allowed order prices. min_quantity, max_quantity: allowed order quantities (0 is no order).
    price_mechanism: pricing rule. spread_share: k of BID_ASK_SPREAD, 0 pays the ask and 1 the bid.
    enable_partner_preference: orders may name an anchor peer or the DSO.
    blockchain_difficulty: leading zero hex digits of a ledger block's hash. visualize_blockchain: must stay False.
    loss_rate: 1/km, a trade over d km loses the share 1 - exp(-loss_rate d).
    congestion_fee, distance_fee, zone_discount: shares of a trade's value at full congestion, over the grid's diameter,
    and within one zone. max_fee: the largest fee, as a share of the value.
    """

    min_price: float = 40.0
    max_price: float = 240.0
    min_quantity: float = 0.1
    max_quantity: float = 200.0
    price_mechanism: ClearingMechanism = ClearingMechanism.AVERAGE
    spread_share: float = 0.5
    enable_partner_preference: bool = False
    blockchain_difficulty: int = 1
    visualize_blockchain: bool = False
    loss_rate: float = 0.001
    congestion_fee: float = 0.05
    distance_fee: float = 0.02
    zone_discount: float = 0.01
    max_fee: float = 0.2

    def __post_init__(self) -> None:
        check_range("max_price", self.max_price, 0.0, MAX_PRICE, "$/MWh")
        check_range("max_quantity", self.max_quantity, 0.0, MAX_QUANTITY, "kWh")
        check_range("min_price", self.min_price, 0.0, MAX_PRICE, "$/MWh")
        check_range("min_quantity", self.min_quantity, 0.0, MAX_QUANTITY, "kWh")
        if self.min_price > self.max_price:
            raise ValueError(
                f"min_price: got {self.min_price!r}; allowed: at most max_price = {self.max_price!r} $/MWh"
            )
        if self.min_quantity > self.max_quantity:
            raise ValueError(
                f"min_quantity: got {self.min_quantity!r}; allowed: at most max_quantity = {self.max_quantity!r} kWh"
            )
        object.__setattr__(self, "price_mechanism", choose(ClearingMechanism, self.price_mechanism, "price_mechanism"))
        for field in ("spread_share", "congestion_fee", "distance_fee", "zone_discount", "max_fee"):
            check_range(field, getattr(self, field), 0.0, 1.0)
        check_range("loss_rate", self.loss_rate, 0.0, 1e3, "1/km")
        if check_positive_int("blockchain_difficulty", self.blockchain_difficulty, low=0) > 6:
            raise ValueError(f"blockchain_difficulty: got {self.blockchain_difficulty!r}; allowed: 0 to 6 hex digits")
        check_bool("enable_partner_preference", self.enable_partner_preference)
        check_bool("visualize_blockchain", self.visualize_blockchain)
        if self.visualize_blockchain:
            raise ValueError(
                "visualize_blockchain: got True; allowed: False (the ledger has no picture; use Ledger.verify)"
            )
