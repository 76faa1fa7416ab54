"""`python -m benches.report`."""

from __future__ import annotations

import sys

from benches.report.command import main

if __name__ == "__main__":  # asv imports every module below `benches`
    sys.exit(main())
