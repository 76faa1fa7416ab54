"""Networks of a whole population, and the RLModules that are made of them."""
