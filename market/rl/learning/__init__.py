"""From sampled episodes to updated weights."""
