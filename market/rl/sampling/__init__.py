"""From weights to sampled episodes: the env runner, and a policy without RLlib."""
