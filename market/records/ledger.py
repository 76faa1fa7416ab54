"""Tamper-evident record of trades: a chain of blocks, one per step, tied together by SHA-256 (FIPS 180-4).

With `head` and `length`, kept elsewhere, any edited, moved, inserted or missing block is found.
"""

from __future__ import annotations

import hashlib
import io
import struct
from dataclasses import dataclass, fields
from itertools import count
from typing import Any

import numpy as np

from market.clearing.orders import Trades
from market.constants import MAX_DIFFICULTY
from market.support import check

GENESIS = "0" * 64
"""Head of an empty ledger: what the first block holds as its previous hash."""

TYPES: dict[bytes, Any] = {b"<i8": np.int64, b"<f8": np.float64}
"""What numbers are written as."""
_MAGIC = b"market.ledger/1\n"
_NUMBER = struct.Struct("<Q")


@dataclass(frozen=True)
class Block:
    """The trades of one step, sealed."""

    previous: str  # hash of the block before, hex
    content: bytes  # step and trades as `encode` writes them
    nonce: int  # the number that gives the hash its leading zeros
    digest: str  # SHA-256 of the three in this order, hex

    def is_sealed(self, difficulty: int) -> bool:
        """Whether the digest belongs to the block and has `difficulty` leading zero hex digits."""
        try:
            sealed = hashlib.sha256(bytes.fromhex(self.previous) + self.content + _NUMBER.pack(self.nonce)).hexdigest()
        except (ValueError, struct.error):  # not hex, or not a 64-bit number
            return False
        return self.digest == sealed and sealed.startswith("0" * difficulty)

    @property
    def trades(self) -> Trades:
        """The trades, read-only."""
        return decode(self.content)[1]


class Ledger:
    """A chain of blocks that grows by `append`.

    difficulty: leading zero hex digits of every block's hash, 0 to 6.
    """

    def __init__(self, difficulty: int = 1) -> None:
        self.difficulty = check.whole("difficulty", difficulty, 0, MAX_DIFFICULTY)
        self.blocks: list[Block] = []

    @property
    def head(self) -> str:
        """Hash of the last block, hex: keep it, with `length`, to verify the ledger later."""
        return self.blocks[-1].digest if self.blocks else GENESIS

    @property
    def length(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def append(self, trades: Trades, step: int) -> str:
        """Seal a copy of a step's trades into a block, and return its hash, the new head."""
        content, previous = encode(trades, step), self.head
        opened, zeros = hashlib.sha256(bytes.fromhex(previous) + content), "0" * self.difficulty
        for nonce in count():  # proof of work: 16 ** difficulty tries on average
            attempt = opened.copy()
            attempt.update(_NUMBER.pack(nonce))
            if attempt.hexdigest().startswith(zeros):
                break
        self.blocks.append(Block(previous, content, nonce, attempt.hexdigest()))
        return self.head

    def verify(self, head: str, length: int) -> bool:
        """Whether the blocks are exactly the `length` ones, in their order, that led to `head`."""
        previous = GENESIS
        for block in self.blocks:
            if block.previous != previous or not block.is_sealed(self.difficulty):
                return False
            previous = block.digest
        return self.length == length and previous == head


def encode(trades: Trades, step: int) -> bytes:
    """Canonical bytes of a step's trades: equal trades give equal bytes, different ones never do.

    A magic line, the step, the number of trades and of fields; then for every field of `Trades`, as declared, its
    name, dtype ("<i8" or "<f8") and values, each with its length in bytes before it. Numbers are 64-bit little-endian.
    """
    names = [field.name for field in fields(Trades)]
    step = check.whole("step", step, 0, 2**63 - 1)
    parts = [_MAGIC, *map(_NUMBER.pack, (step, len(trades), len(names)))]
    for name in names:
        column = np.asarray(getattr(trades, name))
        if column.shape != (len(trades),):
            raise ValueError(f"{name}: got an array of shape {column.shape}; allowed: ({len(trades)},)")
        dtype = "<f8" if column.dtype.kind == "f" else "<i8"
        for part in (name.encode(), dtype.encode(), column.astype(dtype, casting="safe").tobytes()):
            parts += [_NUMBER.pack(len(part)), part]
    return b"".join(parts)


def decode(content: bytes) -> tuple[int, Trades]:
    """Step and trades of what `encode` wrote; ValueError for any other bytes."""
    check.instance("content", content, bytes)
    read = io.BytesIO(content[len(_MAGIC) :]).read

    def number() -> int:
        return int(_NUMBER.unpack(read(_NUMBER.size))[0])

    try:
        step, _, size = number(), number(), number()
        columns = {}
        for _ in range(size):
            name, dtype = read(number()).decode(), TYPES[read(number())]
            columns[name] = np.frombuffer(read(number()), dtype)
        trades = Trades(**columns)
        genuine = encode(trades, step) == content
    except (struct.error, KeyError, OverflowError, TypeError, ValueError):
        genuine = False
    if not genuine:
        raise ValueError(f"content: got {check.shown(content)}; allowed: bytes that market.records.ledger.encode wrote")
    return step, trades
