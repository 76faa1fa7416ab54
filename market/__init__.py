"""A local energy market for many agents: clearing, grid, batteries, settlement, and training on Ray RLlib.

`clear` clears one book; `Scenario` describes a community; `market.simulation` steps many of them at once;
`RLTrainer` trains their agents. Importing this package loads neither torch nor ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from market.cache import kernel_cache

with kernel_cache():
    from market.assets import Battery, DERAgent
    from market.clearing import ClearingResult, clear
    from market.config import DSO, NO_PARTNER, ClearingMechanism, GridTopology, MarketConfig, RLAlgorithm, TrainingMode
    from market.grid import GridNetwork
    from market.ledger import Ledger
    from market.orders import Orders, Trades
    from market.profiles import DERProfileHandler, DSOProfileHandler
    from market.scenario import Scenario

if TYPE_CHECKING:
    from market.rl.trainer import RLTrainer

__all__ = [
    "DSO",
    "NO_PARTNER",
    "Battery",
    "ClearingMechanism",
    "ClearingResult",
    "DERAgent",
    "DERProfileHandler",
    "DSOProfileHandler",
    "GridNetwork",
    "GridTopology",
    "Ledger",
    "MarketConfig",
    "Orders",
    "RLAlgorithm",
    "RLTrainer",
    "Scenario",
    "Trades",
    "TrainingMode",
    "clear",
]


def __getattr__(name: str) -> Any:
    """Loads the trainer, and with it torch and ray, when it is first asked for."""
    if name == "RLTrainer":
        from market.rl.trainer import RLTrainer

        return RLTrainer
    raise AttributeError(f"module 'market' has no attribute {name!r}")
