"""Settings of the market, with the defaults of the study."""

from __future__ import annotations

from dataclasses import dataclass

from market.clearing.pricing import ClearingMechanism
from market.constants import MAX_DIFFICULTY, MAX_PRICE, MAX_QUANTITY
from market.support import check


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
        vars(self)["price_mechanism"] = check.choose(ClearingMechanism, self.price_mechanism, "price_mechanism")
        for name, most, unit in (("price", MAX_PRICE, "$/MWh"), ("quantity", MAX_QUANTITY, "kWh")):
            check.fields(self, 0.0, most, f"min_{name}", f"max_{name}", unit=unit)
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low > high:
                raise ValueError(f"min_{name}: got {low!r}; allowed: at most max_{name} = {high!r} {unit}")
        check.fields(self, 0.0, 1.0, "spread_share", "congestion_fee", "distance_fee", "zone_discount", "max_fee")
        check.fields(self, 0.0, 1e3, "loss_rate", unit="1/km")
        difficulty = check.whole("blockchain_difficulty", self.blockchain_difficulty, 0, MAX_DIFFICULTY)
        vars(self)["blockchain_difficulty"] = difficulty
        check.flag("enable_partner_preference", self.enable_partner_preference)
        check.flag("visualize_blockchain", self.visualize_blockchain)
        if self.visualize_blockchain:
            raise ValueError(
                "visualize_blockchain: got True; allowed: False (the ledger has no picture; use Ledger.verify)"
            )
