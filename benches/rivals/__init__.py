"""The same training by other means: stock RLlib, and bare torch loops."""
