"""The two states of the code that the gate compares: commits, checked out side by side, or folders as they are."""

from __future__ import annotations

import functools
import hashlib
import io
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

TABLE = Path("benches", "cases.py")
"""What makes a folder a checkout."""
CODE = ("benches", "market")
"""The packages whose Python files are what is measured."""


class NoTree(ValueError):
    """Neither a commit nor a folder with a table of cases."""


@dataclass(frozen=True)
class Tree:
    """A checkout. name: as the user gave it. commit: its full hash; None for a folder taken as it is."""

    name: str
    folder: Path
    commit: str | None

    @property
    def label(self) -> str:
        """The name, and the short hash unless it is the name."""
        short = (self.commit or "")[:9]
        return f"{self.name} ({short})" if short and not self.name.startswith(short[:7]) else self.name

    @functools.cached_property
    def digest(self) -> str:
        """Of the names and texts of the Python files of CODE: equal for trees that are the same code."""
        found = hashlib.sha256()
        for file in sorted(file for package in CODE for file in (self.folder / package).rglob("*.py")):
            for part in (str(file.relative_to(self.folder)).encode(errors="surrogateescape"), file.read_bytes()):
                found.update(len(part).to_bytes(8, "big") + part)
        return found.hexdigest()


def check_out(name: str, place: Path, repository: Path) -> Tree:
    """The tree called `name`: a folder with a table, or a revision of `repository`, unpacked into `place`.

    `git archive` and not `git worktree`: a gate that is killed leaves nothing in the repository.
    """
    if name and (Path(name) / TABLE).is_file():
        return Tree(name, Path(name).resolve(), None)
    commit = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is None:
        raise NoTree(
            f"got {name!r}; allowed: a commit of {repository} (in a shallow clone: git fetch --unshallow), "
            f"or a folder with {TABLE}"
        )
    hash_ = commit.decode().strip()
    packed = _git(repository, "archive", "--format=tar", hash_)
    if packed is None:
        raise NoTree(f"{name}: git archive {hash_[:9]} failed in {repository}")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)  # new in Python 3.11.4
        archive.extractall(place)
    if not (place / TABLE).is_file():
        raise NoTree(f"{name}: commit {hash_[:9]} has no {TABLE}; allowed: commits that have a table of cases")
    return Tree(name, place, hash_)


def _git(repository: Path, *arguments: str) -> bytes | None:
    done = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, timeout=120, check=False)
    return done.stdout if done.returncode == 0 else None
