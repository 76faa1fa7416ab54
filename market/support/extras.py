"""Names that are loaded on first use, since they need packages that an extra of the installation brings."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Imports inside; a package that is missing is named with the extra that brings it.

    extra: as in `pip install 'lem-scalability[extra]'`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "market").partition(".")[0]
        if package == "market":
            raise
        missing = f"{package} is not installed; pip install 'lem-scalability[{extra}]' brings it"
        raise ModuleNotFoundError(missing, name=error.name) from None


def on_first_use(package: str, where: Mapping[str, tuple[str, str]]) -> Callable[[str], Any]:
    """A `__getattr__` for a package.

    where: name -> the module that holds it, from the package on, and the extra that it needs.
    """

    def load(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, extra = where[name]
        with needs(extra):
            return getattr(importlib.import_module(f"{package}.{module}"), name)

    return load
