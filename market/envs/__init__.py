"""Adapters of the simulation to the environment interfaces of others; no economics here.

Importing this package registers `LocalEnergyMarket-v0` with gymnasium: `gymnasium.make` gives a `MarketEnv`,
`gymnasium.make_vec` a `MarketVectorEnv`, as in `gymnasium.make("market.envs:LocalEnergyMarket-v0", num_agents=5)`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium

from market.envs.check import check_market_env
from market.envs.single import MarketEnv
from market.envs.vector import MarketVectorEnv

if TYPE_CHECKING:
    from market.envs.multi_agent import MarketMultiAgentEnv
    from market.envs.parallel import MarketParallelEnv

ENV_ID = "LocalEnergyMarket-v0"
_LAZY = {"MarketMultiAgentEnv": "multi_agent", "MarketParallelEnv": "parallel"}  # each needs a package of its own

__all__ = ["ENV_ID", "MarketEnv", "MarketMultiAgentEnv", "MarketParallelEnv", "MarketVectorEnv", "check_market_env"]


def __getattr__(name: str) -> Any:
    """Loads an adapter, and with it the package whose interface it has, when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


if ENV_ID not in gymnasium.registry:
    gymnasium.register(
        ENV_ID, entry_point="market.envs.single:MarketEnv", vector_entry_point="market.envs.vector:MarketVectorEnv"
    )
