"""`python -m benches.goals`."""

from __future__ import annotations

import sys

from benches.goals.command import main

if __name__ == "__main__":  # asv imports every module below `benches`
    sys.exit(main())
