"""The pytest side: plugin, options, and the recorder of a run."""
