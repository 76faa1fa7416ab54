"""Adapters of the simulation to the environment interfaces of others; no economics here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from market.envs.vector import MarketVectorEnv

if TYPE_CHECKING:
    from market.envs.multi_agent import MarketMultiAgentEnv

_LAZY = {"MarketMultiAgentEnv": "multi_agent"}  # each needs a package of its own

__all__ = ["MarketMultiAgentEnv", "MarketVectorEnv"]


def __getattr__(name: str) -> Any:
    """Loads an adapter, and with it the package whose interface it has, when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
