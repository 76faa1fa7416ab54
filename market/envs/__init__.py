"""Adapters of the simulation to the environment interfaces of others; no economics here."""

from market.envs.vector import MarketVectorEnv

__all__ = ["MarketVectorEnv"]
