"""Adapters of the simulation to the environment interfaces of others; no economics here.

Importing this package registers `LocalEnergyMarket-v0` with gymnasium: `gymnasium.make` gives a `MarketEnv`,
`gymnasium.make_vec` a `MarketVectorEnv`, as in `gymnasium.make("market.envs:LocalEnergyMarket-v0", num_agents=5)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from market.support.extras import needs, on_first_use

with needs("envs"):
    import gymnasium

from market.envs.check import check_market_env
from market.envs.single import MarketEnv
from market.envs.vector import MarketVectorEnv

if TYPE_CHECKING:
    from market.envs.multi_agent import MarketMultiAgentEnv
    from market.envs.parallel import MarketParallelEnv

ENV_ID = "LocalEnergyMarket-v0"

__all__ = ["ENV_ID", "MarketEnv", "MarketMultiAgentEnv", "MarketParallelEnv", "MarketVectorEnv", "check_market_env"]


__getattr__ = on_first_use(
    __name__, {"MarketMultiAgentEnv": ("multi_agent", "rl"), "MarketParallelEnv": ("parallel", "pettingzoo")}
)

if ENV_ID not in gymnasium.registry:
    gymnasium.register(
        ENV_ID, entry_point="market.envs.single:MarketEnv", vector_entry_point="market.envs.vector:MarketVectorEnv"
    )
