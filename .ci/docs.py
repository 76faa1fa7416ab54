"""Build the API reference and the pages of both packages into build/docs: `make docs`. Warnings of pdoc are errors."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
PACKAGES = ("market", "benches")


def load(name: str) -> ModuleType:
    """A package whose submodules and lazily loaded names are all there: pdoc documents what it finds in `__dict__`."""
    package = importlib.import_module(name)
    below = [module.name for module in pkgutil.iter_modules(package.__path__, f"{name}.")]
    for module in below:
        if hasattr(importlib.import_module(module), "__path__"):
            load(module)
    if hasattr(package, "__all__"):
        for public in package.__all__:
            setattr(package, public, getattr(package, public))
        package.__all__ = [*package.__all__, *(module.rpartition(".")[2] for module in below)]
    return package


def main(folder: Path) -> None:
    """Write the pages into `folder`."""
    sys.path.insert(0, str(ROOT))
    for name in PACKAGES:
        print(f"loading {name} ...", flush=True)
        load(name)
    import pdoc

    warnings.filterwarnings("error", module=r"pdoc\.")
    for harmless in (r"nx\.Graph", r".* for ray\.", r".* for \S+\.__init__\."):  # names that only type checkers know
        warnings.filterwarnings("ignore", f"Error parsing type annotation {harmless}")
    pdoc.render.configure(search=True)
    print("writing the pages ...", flush=True)
    pdoc.pdoc(*PACKAGES, output_directory=folder)
    print(f"the pages: {folder / 'index.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "docs")
