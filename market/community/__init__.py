"""Who takes part: agents, their profiles and tariffs, and a scenario of them all."""
