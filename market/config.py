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
"""The agent id of the distribution system operator."""
NO_PARTNER = -2
"""The `partner` of an order that names nobody."""
AGENT_REWARDS = "agent_rewards"
"""Key of a step's info that holds the reward of each agent, [E, N]."""
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


def find(registry: Mapping[str, Entry], name: object, field: str) -> Entry:
    """The entry of that name, or a one-line ValueError that lists the names."""
    if not isinstance(name, str) or name not in registry:
        names = list(registry)
        raise ValueError(f"{field}: got {name!r}; allowed: {', '.join(names)}{nearest(str(name), names)}")
    return registry[name]


def choose(kind: type[Kind], value: object, field: str) -> Kind:
    """The member of `kind` for `value`: a member, or a member's value in any case."""
    members = {member.value: member for member in kind}
    if isinstance(value, str) and value.lower() in members:
        return members[value.lower()]
    return find(members, value, field)


def check_range(field: str, value: object, low: float = 0.0, high: float = math.inf, unit: str = "") -> float:
    """`value` as a float when it is a finite number within [low, high], else a one-line ValueError."""
    if type(value) is float and low <= value <= high and value < math.inf:
        return value  # the usual case, on the path of `clear`
    number = math.nan
    if not isinstance(value, bool | str | bytes):
        with contextlib.suppress(TypeError, ValueError):
            number = float(value)  # type: ignore[arg-type]
    if not (low <= number <= high and math.isfinite(number)):
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
    """Rules of the market. Fees are shares of a trade's value.

    min_price, max_price: limits of order prices, $/MWh.
    min_quantity, max_quantity: limits of order quantities, kWh; 0 is no order.
    price_mechanism: the pricing rule.
    spread_share: k of BID_ASK_SPREAD in [0, 1]; 0 pays the ask and 1 the bid.
    enable_partner_preference: orders may name an anchor peer or the DSO.
    blockchain_difficulty: leading zero hex digits of a ledger block's hash, 0 to 6.
    visualize_blockchain: must stay False.
    loss_rate: 1/km; a trade over d km loses the share 1 - exp(-loss_rate d).
    congestion_fee: at full congestion, in [0, 1].
    distance_fee: over the grid's diameter, in [0, 1].
    zone_discount: within one zone, in [0, 1].
    max_fee: the largest fee, in [0, 1].
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
        object.__setattr__(self, "price_mechanism", choose(ClearingMechanism, self.price_mechanism, "price_mechanism"))
        for name, most, unit in (("price", MAX_PRICE, "$/MWh"), ("quantity", MAX_QUANTITY, "kWh")):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            check_range(f"max_{name}", high, 0.0, most, unit)
            check_range(f"min_{name}", low, 0.0, most, unit)
            if low > high:
                raise ValueError(f"min_{name}: got {low!r}; allowed: at most max_{name} = {high!r} {unit}")
        for share in ("spread_share", "congestion_fee", "distance_fee", "zone_discount", "max_fee"):
            check_range(share, getattr(self, share), 0.0, 1.0)
        check_range("loss_rate", self.loss_rate, 0.0, 1e3, "1/km")
        if check_positive_int("blockchain_difficulty", self.blockchain_difficulty, low=0) > 6:
            raise ValueError(f"blockchain_difficulty: got {self.blockchain_difficulty!r}; allowed: 0 to 6 hex digits")
        check_bool("enable_partner_preference", self.enable_partner_preference)
        check_bool("visualize_blockchain", self.visualize_blockchain)
        if self.visualize_blockchain:
            raise ValueError(
                "visualize_blockchain: got True; allowed: False (the ledger has no picture; use Ledger.verify)"
            )
