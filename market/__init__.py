"""A local energy market for many agents: clearing, grid, batteries, settlement, and training on Ray RLlib.

`clear` clears one book; `Scenario` describes a community; `market.simulation` steps many of them at once;
`RLTrainer` trains their agents. Importing this package loads neither torch nor ray, and changes no setting of the
process; `keep_freed_memory` speeds up the clearing of large books.

.. include:: docs/environments.md
.. include:: docs/data.md
.. include:: docs/mechanisms.md
.. include:: docs/extending.md
.. include:: docs/limits.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from market.clearing.config import MarketConfig
from market.clearing.orders import Orders, Trades
from market.clearing.pricing import ClearingMechanism
from market.clearing.single import ClearingResult, clear
from market.community.agents import Battery, DERAgent
from market.community.scenario import Scenario
from market.community.synthetic import DERProfileHandler, DSOProfileHandler
from market.constants import DSO, NO_PARTNER
from market.grid.network import GridNetwork
from market.grid.topologies import GridTopology
from market.records.ledger import Ledger
from market.rl.hyperparameters import RLAlgorithm
from market.rl.modes import TrainingMode
from market.support.allocator import keep_freed_memory
from market.support.extras import on_first_use

if TYPE_CHECKING:
    from market.rl.trainer import RLTrainer as RLTrainer

__version__ = "1.0.0"
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
    "Scenario",
    "Trades",
    "TrainingMode",
    "clear",
    "keep_freed_memory",
]
"""All but `RLTrainer`, which loads torch and ray: `from market import *` needs neither."""

__getattr__ = on_first_use(__name__, {"RLTrainer": ("rl.trainer", "rl")})
