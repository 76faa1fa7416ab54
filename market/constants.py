"""Ticks, limits and ids that all rooms share."""

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
