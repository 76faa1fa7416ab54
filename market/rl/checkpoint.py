"""The file of a checkpoint or a trained policy: a line with a checksum, a line of JSON, and numpy's .npz.

Neither part can hold code, so that a file of a stranger can be read. Nothing here needs torch or ray.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from market.clearing.config import MarketConfig
from market.community.agents import Battery, DERAgent
from market.community.scenario import Scenario
from market.community.synthetic import DSOProfileHandler
from market.grid.network import GridNetwork
from market.rl.hyperparameters import SETTINGS
from market.support.files import write_whole

Arrays = dict[str, NDArray[Any]]

FORMAT = 4
WEIGHTS = "weights/"
"""Names of a learner's weights begin with this."""
ACTOR = f"0/{WEIGHTS}actor."
"""And those of the policy in a file, which has the number of each learner before its names."""
_COMMUNITY = (Scenario, DERAgent, Battery, MarketConfig, GridNetwork, DSOProfileHandler)
CLASSES: dict[str, type] = {kind.__name__: kind for kind in (*_COMMUNITY, *SETTINGS.values())}
"""Dataclasses that a file can describe, by name; their constructors check what they are given."""
UNUSED = {"der_profile_handler"}
"""Fields that nothing reads, and that are left out."""


def write(path: str | Path, facts: dict[str, Any], arrays: Arrays) -> None:
    """Write one file, in one piece or not at all.

    facts: what JSON, arrays and `CLASSES` can say.
    arrays: by name, without objects.
    """
    packed, buffer = dict(arrays), io.BytesIO()

    def described(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            packed[name := f"array {len(packed)}"] = value
            return {"array": name}
        if isinstance(value, np.generic):
            return value.item()
        if type(value) not in CLASSES.values():
            raise ValueError(f"save: got a {type(value).__name__}; allowed: {', '.join(CLASSES)}, arrays and numbers")
        known = (field.name for field in fields(value) if field.name not in UNUSED)
        return {"class": type(value).__name__, "fields": {name: getattr(value, name) for name in known}}

    text = json.dumps(facts, default=described)
    np.savez(buffer, allow_pickle=False, **packed)
    body = text.encode() + b"\n" + buffer.getvalue()
    write_whole(Path(path), _seal(body) + body)


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[dict[str, Any], Arrays]]:
    """The facts and arrays that `write` wrote.

    ValueError in one line for any other file, one that was changed, and where the work inside cannot use the content.
    """
    data = Path(path).read_bytes()
    seal, end, body = data.partition(b"\n")
    if seal + end != _seal(body):
        got = ", a pickle of an older version" if data.startswith(b"\x80") else ", which is another or was changed"
        raise ValueError(
            f"path: got {str(path)!r}{got}; allowed: a file that RLTrainer.save wrote (format {FORMAT}), untouched"
        )
    try:
        text, _, packed = body.partition(b"\n")
        with np.load(io.BytesIO(packed), allow_pickle=False) as members:
            arrays = dict(members)
        yield json.loads(text, object_hook=lambda said: _made(said, arrays)), arrays
    except (LookupError, TypeError, AttributeError, RuntimeError, BadZipFile) as error:
        raise ValueError(f"path: got {str(path)!r}, whose content does not fit ({error!r:.200})") from error


def _seal(body: bytes) -> bytes:
    """The first line."""
    return f"market checkpoint {FORMAT} sha256 {hashlib.sha256(body).hexdigest()}\n".encode()


def _made(said: dict[str, Any], arrays: Arrays) -> Any:
    """What a description stands for."""
    if said.keys() == {"array"}:
        return arrays[said["array"]]
    if said.keys() != {"class", "fields"}:
        return said
    kind, given = CLASSES[said["class"]], dict(said["fields"])
    later = {field.name: given.pop(field.name) for field in fields(kind) if not field.init}
    value = kind(**given)
    for name, content in later.items():  # the places of agents in a grid
        getattr(value, name).update(content)
    return value
