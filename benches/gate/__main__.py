"""`python -m benches.gate`."""

from __future__ import annotations

import sys

from benches.gate.entry import main

if __name__ == "__main__":  # asv imports every module below `benches`
    sys.exit(main())
