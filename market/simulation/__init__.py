"""One step of many communities at once, what an agent sees, and what a step leaves behind."""
