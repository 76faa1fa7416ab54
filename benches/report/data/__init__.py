"""The records of a run, in the shapes that sections and figures need."""
