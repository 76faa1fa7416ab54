"""A local energy market for many agents: clearing, grid, batteries, settlement, and training on Ray RLlib.

`clear` clears one book; `Scenario` describes a community; `market.simulation` steps many of them at once;
`RLTrainer` trains their agents. Importing this package loads neither torch nor ray, and changes no setting of the
process; `keep_freed_memory` speeds up the clearing of large books.

.. include:: docs/environments.md
.. include:: docs/data.md
.. include:: docs/mechanisms.md
.. include:: docs/limits.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from market.clearing.orders import Orders, Trades
from market.clearing.single import ClearingResult, clear
from market.community.agents import Battery, DERAgent
from market.community.scenario import Scenario
from market.community.synthetic import DERProfileHandler, DSOProfileHandler
from market.config import DSO, NO_PARTNER, ClearingMechanism, GridTopology, MarketConfig, RLAlgorithm, TrainingMode
from market.grid.network import GridNetwork
from market.records.ledger import Ledger
from market.support.allocator import keep_freed_memory

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
    "keep_freed_memory",
]


def __getattr__(name: str) -> Any:
    """Loads the trainer, and with it torch and ray, when it is first asked for."""
    if name == "RLTrainer":
        from market.rl.trainer import RLTrainer

        return RLTrainer
    raise AttributeError(f"module 'market' has no attribute {name!r}")
