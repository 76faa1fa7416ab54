"""`python -m benches.campaign`."""

from __future__ import annotations

import sys

from benches.measure import threads

if __name__ == "__main__":  # asv imports every module below `benches`
    threads.pin()  # before numpy loads
    from benches.campaign.command import main

    sys.exit(main())
