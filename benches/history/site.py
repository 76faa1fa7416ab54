"""Makes the site that `asv publish` wrote work without a network: `python -m benches.history.site [FOLDER]`.

The pages load jQuery, flot and others from three networks. This takes the same files with npm, each package
checked against its published SHA-512, keeps them in FOLDER/vendor and points the pages at them.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A release on npm, its SHA-512 (base64, as npm shows it), and which of its files stand for which addresses."""

    name: str
    version: str
    sha512: str
    files: dict[str, str]


PACKAGES = tuple(
    Package(**each) for each in json.loads(Path(__file__).with_name("packages.json").read_text(encoding="utf-8"))
)
"""stupid-table-plugin 1.0.1, which the pages name, is not on npm: 1.1.3 stands for it."""


class NotFetched(RuntimeError):
    """A package that could not be had, or is not the one that is expected."""


def fetch(package: Package) -> bytes:
    """The archive of a package, by npm."""
    with tempfile.TemporaryDirectory() as scratch:
        command = ["npm", "pack", "--silent", "--pack-destination", scratch, f"{package.name}@{package.version}"]
        try:
            subprocess.run(command, check=True, capture_output=True, encoding="utf-8", timeout=120)
        except FileNotFoundError:
            raise NotFetched(
                "npm is not installed; the site still works where its own networks can be reached"
            ) from None
        except subprocess.SubprocessError as error:
            raise NotFetched(f"{' '.join(command)}: {getattr(error, 'stderr', '') or error}") from None
        (archive,) = Path(scratch).glob("*.tgz")
        return archive.read_bytes()


def unpacked(package: Package, get: Callable[[Package], bytes]) -> dict[str, bytes]:
    """The files of a package that the site needs, by their names in the package."""
    packed = get(package)
    found = base64.b64encode(hashlib.sha512(packed).digest()).decode()
    if found != package.sha512:
        raise NotFetched(f"{package.name} {package.version}: got SHA-512 {found}; allowed: {package.sha512}")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = {name: archive.extractfile(f"package/{name}") for name in package.files.values()}
        return {name: file.read() for name, file in members.items() if file is not None}


def make_local(folder: Path, get: Callable[[Package], bytes] = fetch) -> list[str]:
    """Put the files into `folder`/vendor and let its pages use them; the addresses that were replaced."""
    pages = {page: page.read_text(encoding="utf-8") for page in sorted(folder.glob("*.html"))}
    if not pages:
        raise NotFetched(f"{folder}: got no pages; allowed: the folder that `asv publish` wrote (run that first)")
    vendor = folder / "vendor"
    replaced = []
    for package in PACKAGES:
        wanted = {path: name for path, name in package.files.items() if any(path in text for text in pages.values())}
        if not wanted:
            continue
        files = unpacked(package, get)
        vendor.mkdir(exist_ok=True)
        for path, name in wanted.items():
            local = f"vendor/{package.name}-{package.version}-{Path(name).name}"
            (folder / local).write_bytes(files[name])
            for page, text in pages.items():
                pages[page] = re.sub(rf'"https://[^"]*{re.escape(path)}"( integrity="[^"]*")?', f'"{local}"', text)
            replaced.append(path)
    for page, text in pages.items():
        page.write_text(text, encoding="utf-8")
    left = [
        found
        for text in pages.values()
        for found in re.findall(r'<(?:script src|link [^>]*href)="(https?:[^"]*)', text)
    ]
    if left:
        raise NotFetched(f"{folder}: still loaded from outside: {', '.join(left)}; add it to PACKAGES")
    return replaced


def main(arguments: Sequence[str] | None = None) -> int:
    """Fix the site; 0 when nothing is loaded from outside any more."""
    parser = argparse.ArgumentParser(prog="python -m benches.history.site", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(".asv", "html"), help="default: .asv/html")
    folder = parser.parse_args(arguments).folder
    try:
        replaced = make_local(folder)
    except NotFetched as error:
        print(f"asv_site: {error}", file=sys.stderr)
        return 1
    print(f"{folder}: {len(replaced)} files are now beside the pages" if replaced else f"{folder}: nothing to do")
    return 0


if __name__ == "__main__":
    sys.exit(main())
