"""A process over an earlier commit, run as a file: it opens one cell of that commit's table, and tells what calls cost.

Of the commit it needs `benches.cases.CASES`, whose rows have `setup` and `call`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import IO, Any


def serve(requests: IO[str], tell: IO[str]) -> None:
    """A line for the cell, {"case", "params"}, then one for each call, its number; CPU seconds are the answer."""
    from benches.cases import CASES

    cell: dict[str, Any] = json.loads(next(requests))
    case = CASES[cell["case"]]
    prepared = case.setup(cell["params"])
    for line in requests:
        began = time.process_time()
        case.call(prepared, json.loads(line))
        print(json.dumps(time.process_time() - began), file=tell, flush=True)


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[1]), "w") as answers:
        serve(sys.stdin, answers)
