"""Names, units, limits and validated settings: every default of the study in one place."""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from numbers import Integral, Real
from types import NoneType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

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
MAX_DIFFICULTY = 6
"""Leading zero hex digits of a block's hash at most: six take some 16 million hashes a block."""
MAX_COUNT = 2**31 - 1
"""Largest number of anything: agents, steps, days, nodes, episodes at once."""
LARGEST = float(np.finfo(np.float64).max)
_NOTHING: NDArray[Any] = np.empty(0, np.object_)
_MASKED = np.ma.MaskedArray
NO_NUMBERS = (bool, np.timedelta64)
"""What Python or numpy counts among the numbers, and no check does."""


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


def shown(value: object, most: int = 60) -> str:
    """`value` as a message shows it: on one line of at most `most` characters, whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - of integers beyond 4,300 digits, and of objects of others
        text = f"some {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def nearest(word: object, words: Sequence[str]) -> str:
    """The closest of `words` as a "did you mean" to append to a message, or nothing when none is close."""
    spelled = {w.lower(): w for w in words}
    close = difflib.get_close_matches(word.lower(), spelled, n=1, cutoff=0.5) if isinstance(word, str) else ()
    return f"; did you mean {spelled[close[0]]!r}?" if close else ""


def find(registry: Mapping[str, Entry], name: object, field: str) -> Entry:
    """The entry of that name, or a one-line ValueError that lists the names."""
    if not isinstance(name, str) or name not in registry:
        names = list(registry)
        raise ValueError(f"{field}: got {shown(name)}; allowed: {', '.join(names)}{nearest(name, names)}")
    return registry[name]


def choose(kind: type[Kind], value: object, field: str) -> Kind:
    """The member of `kind` for `value`: a member, or a member's value in any case."""
    members = {member.value: member for member in kind}
    return find(members, value.lower() if isinstance(value, str) and value.lower() in members else value, field)


def check_type(field: str, value: object, *kinds: Any, allowed: str = "") -> None:
    """A one-line ValueError unless `value` is of one of the kinds. allowed: how the message names them."""
    if not isinstance(value, kinds):
        names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        raise ValueError(f"{field}: got {shown(value)}; allowed: {allowed or names}")


def check_each(field: str, values: object, kind: Any, allowed: str) -> tuple[Any, ...]:
    """The values as a tuple if they are all of a kind, else a one-line ValueError. allowed: how it names them."""
    found: tuple[Any, ...] = (values,)
    with contextlib.suppress(TypeError):
        found = tuple(values)  # type: ignore[arg-type]
    for value in found:
        check_type(field, value, kind, allowed=allowed)
    return found


def check_range(field: str, value: object, low: float = 0.0, high: float = math.inf, unit: str = "") -> float:
    """`value` as a float when it is a finite number within [low, high], else a one-line ValueError."""
    if type(value) is float and low <= value <= high and value < math.inf:
        return value  # the usual case, on the path of `clear`
    number = math.nan
    if isinstance(value, Real) and not isinstance(value, NO_NUMBERS):
        with contextlib.suppress(OverflowError):
            number = float(value)
    if not (low <= number <= high and math.isfinite(number)):
        bounds = f"a finite number >= {low:.12g}" if math.isinf(high) else f"{low:.12g} to {high:.12g}"
        raise ValueError(f"{field}: got {shown(value)}; allowed: {bounds}{' ' + unit if unit else ''}")
    return number


def check_fields(thing: object, low: float, high: float, *fields: str, unit: str = "") -> None:
    """Make these fields of a frozen dataclass floats within [low, high], or raise a one-line ValueError."""
    for field in fields:
        vars(thing)[field] = check_range(field, getattr(thing, field), low, high, unit)


def check_bool(field: str, value: object) -> None:
    """A one-line ValueError unless `value` is True or False: any word would count as True."""
    check_type(field, value, bool, np.bool_, allowed="True or False")


def check_positive_int(field: str, value: object, low: int = 1, high: int = MAX_COUNT) -> int:
    """`value` as an int when it is a whole number within [low, high], else a one-line ValueError."""
    if type(value) is int and low <= value <= high:
        return value  # the usual case, on the path of `clear_batch`
    whole = isinstance(value, Integral) and not isinstance(value, NO_NUMBERS)
    if not whole or not low <= int(value) <= high:  # type: ignore[call-overload]
        limited = high < MAX_COUNT or (whole and int(value) > high)  # type: ignore[call-overload]
        bounds = f"{low} to {high}, a whole number" if limited else f"a whole number >= {low}"
        raise ValueError(f"{field}: got {shown(value)}; allowed: {bounds}")
    return int(value)  # type: ignore[call-overload]


def check_seed(seed: object) -> int:
    """`seed` as an int when it is a whole number >= 0 that 63 bits hold, else a one-line ValueError."""
    return check_positive_int("seed", seed, 0, 2**63 - 1)


def refuse(field: str, values: NDArray[Any], bad: NDArray[np.bool_], allowed: str) -> None:
    """A one-line ValueError for the first bad one of the values, arrays of the same shape, if there is one."""
    if bad.any():
        place = np.argwhere(bad)[0].tolist()
        where = f" at {place if len(place) > 1 else place[0]}" if place else ""
        raise ValueError(f"{field}: got {values[tuple(place)]}{where}; allowed: {allowed}")


def check_array(
    field: str,
    value: object,
    *shapes: tuple[int | str, ...],
    dtype: type = np.float64,
    low: float = -LARGEST,
    high: float = LARGEST,
    allowed: str = "finite numbers",
) -> NDArray[Any]:
    """A copy of `value` as an array, or a one-line ValueError: nothing is converted that does not stay what it was.

    field: its name in errors.
    value: numbers, or for bools 0 and 1, too; neither masked, complex, durations, words nor objects.
    shapes: those that it may have; a name stands for any length.
    dtype: of the copy; to whole numbers, other types are converted if their values are whole.
    low, high: limits of the values.
    allowed: what the values may be, in errors.
    """
    try:
        raw = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # rows of unequal length; tensors with gradients
        raw = _NOTHING
    if raw.dtype.kind not in ("biuf" if dtype is np.bool_ else "iuf") or isinstance(value, _MASKED):
        raise ValueError(f"{field}: got {shown(value)}; allowed: {allowed}, {_written(*shapes)}")
    if raw.shape not in shapes and not any(map(partial(_fits, raw.shape), shapes)):
        hint = "; did you mean its transpose?" if any(map(partial(_fits, raw.shape[::-1]), shapes)) else ""
        raise ValueError(f"{field}: got shape {_written(raw.shape)}; allowed: {_written(*shapes)}{hint}")
    if raw.dtype == dtype:
        array = raw.copy()
    else:
        with np.errstate(all="ignore"):
            array = raw.astype(dtype, "C")
        if dtype is not np.float64:
            refuse(field, raw, array != raw, allowed)
    if dtype is np.bool_ or not array.size:
        return array
    if not (np.minimum.reduce(array, None) >= low and np.maximum.reduce(array, None) <= high):  # nor is nan
        refuse(field, array, ~((array >= low) & (array <= high)), allowed)
    return array


def check_episodes(episode: object, *shapes: tuple[int | str, ...]) -> NDArray[np.int64]:
    """A copy of the numbers of episodes, or a one-line ValueError. shapes: as of `check_array`."""
    return check_array("episode", episode, *shapes, dtype=np.int64, low=0, high=np.inf, allowed="whole numbers >= 0")


def _fits(shape: tuple[int, ...], allowed: tuple[int | str, ...]) -> bool:
    each = zip(shape, allowed, strict=False)
    return len(shape) == len(allowed) and all(isinstance(may, str) or has == may for has, may in each)


def _written(*shapes: tuple[int | str, ...]) -> str:
    return " or ".join(f"[{', '.join(map(str, shape))}]" if shape else "a number" for shape in shapes)


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
            check_fields(self, 0.0, most, f"min_{name}", f"max_{name}", unit=unit)
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low > high:
                raise ValueError(f"min_{name}: got {low!r}; allowed: at most max_{name} = {high!r} {unit}")
        check_fields(self, 0.0, 1.0, "spread_share", "congestion_fee", "distance_fee", "zone_discount", "max_fee")
        check_fields(self, 0.0, 1e3, "loss_rate", unit="1/km")
        difficulty = check_positive_int("blockchain_difficulty", self.blockchain_difficulty, 0, MAX_DIFFICULTY)
        vars(self)["blockchain_difficulty"] = difficulty
        check_bool("enable_partner_preference", self.enable_partner_preference)
        check_bool("visualize_blockchain", self.visualize_blockchain)
        if self.visualize_blockchain:
            raise ValueError(
                "visualize_blockchain: got True; allowed: False (the ledger has no picture; use Ledger.verify)"
            )
