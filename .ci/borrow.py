"""Let the environment of the Python that runs this import what another one has installed: `python borrow.py VENV`.

asv's environments would otherwise install torch and ray, 2 GB, a second time. The packages of this environment come
first, so the wheel of the commit to measure is the `market` that runs; its libraries are those that .venv holds.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path


def main(other: str) -> None:
    """other: folder of a virtual environment with this Python's version."""
    own = Path(sysconfig.get_path("purelib"))
    lent = Path(other, own.relative_to(sys.prefix))
    if not lent.is_dir():
        raise SystemExit(f"VENV: got {other!r}; allowed: an environment of Python {sysconfig.get_python_version()}")
    (own / "borrowed.pth").write_text(f"{lent}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
