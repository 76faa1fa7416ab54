"""Write files whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path


def write_whole(path: Path, data: bytes | str) -> None:
    """Replace `path` in one step: a reader, a full disk or a kill sees the old file or the new one, never a part.

    path: its folder is made if need be.
    data: the whole content; text is written as UTF-8.

    Raises OSError, and then leaves `path` as it was and nothing beside it.
    """
    write_together(path.parent, {path.name: data})


def write_together(folder: Path, files: Mapping[str, bytes | str], remove: Iterable[str] = ()) -> None:
    """Replace files of `folder`, each in one step as `write_whole` does, once all of them are whole on the disk.

    folder: made if need be.
    files: content by name; they are replaced in this order.
    remove: names of files that go last, if they are there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fresh = {name: folder / f".{name}.{os.getpid()}" for name in files}
    try:
        for name, data in files.items():
            with fresh[name].open("wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
        for name, path in fresh.items():
            path.replace(folder / name)
    finally:
        for path in fresh.values():
            path.unlink(missing_ok=True)
    for name in remove:
        (folder / name).unlink(missing_ok=True)
