"""PPO, APPO and SAC: a file each, and a row each in `registry.ALGORITHMS`."""
