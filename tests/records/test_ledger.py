"""The ledger: no edit, reorder, insertion, deletion or truncation goes unseen, in any field."""

from __future__ import annotations

import copy
import hashlib
import pickle
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from market.clearing.orders import Trades
from market.records.ledger import GENESIS, MAX_DIFFICULTY, Block, Ledger, decode, encode

NAMES = [field.name for field in fields(Trades)]
INTEGERS = {"buyer": np.int64, "seller": np.int64, "stage": np.int8}


def some_trades(count: int, seed: int = 0) -> Trades:
    rng = np.random.default_rng(seed)
    return Trades(
        **{
            name: rng.integers(-1, 9, count).astype(INTEGERS[name]) if name in INTEGERS else rng.random(count) * 100
            for name in NAMES
        }
    )


def same(a: Trades, b: Trades) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name), equal_nan=name not in INTEGERS) for name in NAMES)


def a_ledger(counts: tuple[int, ...] = (3, 0, 1, 5), difficulty: int = 1) -> Ledger:
    ledger = Ledger(difficulty)
    for step, count in enumerate(counts):
        ledger.append(some_trades(count, step), step)
    return ledger


def forged(ledger: Ledger, blocks: list[Block]) -> Ledger:
    """The ledger with other blocks, mined again from the first that no longer fits: the best a forger can do."""
    other = Ledger(ledger.difficulty)
    for block in blocks:
        other.append(block.trades, decode(block.content)[0])
    return other


def refused(ledger: Ledger, blocks: list[Block]) -> bool:
    """Whether both the bare change and the change with all hashes worked out anew are noticed."""
    bare = copy.copy(ledger)
    bare.blocks = blocks
    head, length = ledger.head, ledger.length
    return not bare.verify(head, length) and not forged(ledger, blocks).verify(head, length)


# What it holds


@pytest.mark.parametrize("difficulty", [0, 1, 2, 3])
def test_a_ledger_verifies_and_its_hashes_have_the_zeros(difficulty):
    ledger = a_ledger(difficulty=difficulty)
    assert ledger.verify(ledger.head, ledger.length)
    assert ledger.length == 4
    assert all(block.digest.startswith("0" * difficulty) for block in ledger.blocks)
    assert [block.previous for block in ledger.blocks] == [GENESIS, *(b.digest for b in ledger.blocks[:-1])]


def test_an_empty_ledger_verifies():
    assert Ledger().verify(GENESIS, 0)
    assert not Ledger().verify(GENESIS, 1)
    assert not Ledger().verify("", 0)


def test_append_returns_the_new_head():
    ledger = Ledger(0)
    assert [ledger.append(some_trades(2), step) for step in (0, 1)] == [block.digest for block in ledger.blocks]
    assert ledger.head == ledger.blocks[1].digest


def test_the_digest_is_plain_sha256_of_previous_content_and_nonce():
    block = a_ledger().blocks[1]
    whole = bytes.fromhex(block.previous) + block.content + block.nonce.to_bytes(8, "little")
    assert block.digest == hashlib.sha256(whole).hexdigest()


def test_blocks_give_back_every_field():
    ledger = a_ledger()
    for step, (block, count) in enumerate(zip(ledger.blocks, (3, 0, 1, 5), strict=True)):
        assert decode(block.content)[0] == step
        assert same(block.trades, some_trades(count, step))


def test_a_ledger_keeps_copies():
    trades, ledger = some_trades(3), Ledger()
    ledger.append(trades, 0)
    trades.price[:] = 0
    assert same(ledger.blocks[0].trades, some_trades(3))
    with pytest.raises(ValueError, match="read-only"):
        ledger.blocks[0].trades.price[0] = 1


def test_equal_trades_give_equal_heads_and_pickles_still_verify():
    ledger = a_ledger()
    assert ledger.head == a_ledger().head
    assert pickle.loads(pickle.dumps(ledger)).verify(ledger.head, ledger.length)


# Tampering


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block", [0, 2, 3])
def test_an_edit_of_any_field_is_seen(name, block):
    ledger = a_ledger()
    trades = ledger.blocks[block].trades
    column = getattr(trades, name).copy()
    column[-1] = column[-1] + 1 if name in INTEGERS else np.nextafter(column[-1], np.inf)  # the least that it can be
    blocks = list(ledger.blocks)
    blocks[block] = replace(blocks[block], content=encode(replace(trades, **{name: column}), block))
    assert refused(ledger, blocks)


@pytest.mark.parametrize(("a", "b"), list(pairwise(NAMES)))
def test_swapping_two_columns_is_seen(a, b):
    ledger, trades = a_ledger((3,)), some_trades(3)
    swapped = replace(trades, **{a: getattr(trades, b), b: getattr(trades, a)})
    assert refused(ledger, [replace(ledger.blocks[0], content=encode(swapped, 0))])


def test_an_edit_of_the_step_is_seen():
    ledger = a_ledger()
    blocks = list(ledger.blocks)
    blocks[1] = replace(blocks[1], content=encode(blocks[1].trades, 7))
    assert refused(ledger, blocks)


@pytest.mark.parametrize(
    "change", [{"nonce": 10**6}, {"nonce": -1}, {"nonce": 2**64}, {"digest": "0" * 64}, {"digest": ""}]
)
@pytest.mark.parametrize("block", [0, 3])
def test_an_edit_of_the_seal_is_seen(change, block):
    ledger = a_ledger()
    head, length = ledger.head, ledger.length
    ledger.blocks[block] = replace(ledger.blocks[block], **change)
    assert not ledger.verify(head, length)
    assert not ledger.verify(ledger.head, length)


@pytest.mark.parametrize("previous", ["", "xyz", "00", GENESIS.replace("0", "1"), GENESIS + "00"])
def test_an_edit_of_the_link_is_seen(previous):
    ledger = a_ledger(difficulty=0)
    for block in range(ledger.length):
        blocks = list(ledger.blocks)
        blocks[block] = replace(blocks[block], previous=previous)
        bare = copy.copy(ledger)
        bare.blocks = blocks
        assert not bare.verify(ledger.head, ledger.length)


def test_a_link_moved_into_the_content_is_seen():
    # The same bytes are hashed, so the digest stays right: only the checks of the links can notice.
    ledger = a_ledger(difficulty=0)
    head, (first, second, *rest) = ledger.head, ledger.blocks
    ledger.blocks = [
        replace(first, digest=""),
        Block("", bytes.fromhex(second.previous) + second.content, second.nonce, second.digest),
        *rest,
    ]
    assert not ledger.verify(head, 4)


@given(st.permutations(range(4)))
def test_any_reorder_is_seen(order):
    ledger = a_ledger(difficulty=0)
    blocks = [ledger.blocks[i] for i in order]
    assert refused(ledger, blocks) == (order != [0, 1, 2, 3])


@pytest.mark.parametrize("place", range(5))
def test_an_insertion_is_seen(place):
    ledger = a_ledger()
    for extra in (ledger.blocks[0], ledger.blocks[-1], a_ledger((2,)).blocks[0]):
        assert refused(ledger, [*ledger.blocks[:place], extra, *ledger.blocks[place:]])


@pytest.mark.parametrize("place", range(4))
def test_a_deletion_or_truncation_is_seen(place):
    ledger = a_ledger()
    assert refused(ledger, ledger.blocks[:place] + ledger.blocks[place + 1 :])
    assert refused(ledger, ledger.blocks[:place])
    cut = copy.copy(ledger)
    cut.blocks = ledger.blocks[:place]
    assert not cut.verify(cut.head, ledger.length)  # the old length with the new head, and the other way round
    assert not cut.verify(ledger.head, cut.length)


def test_a_ledger_that_grew_no_longer_has_the_old_head():
    ledger = a_ledger()
    head, length = ledger.head, ledger.length
    ledger.append(some_trades(1), 4)
    assert not ledger.verify(head, length)
    assert ledger.verify(ledger.head, length + 1)


def test_blocks_mined_with_less_work_are_refused():
    easy = a_ledger(difficulty=0)
    easy.difficulty = 5
    assert not easy.verify(easy.head, easy.length)


# The encoding


def any_trades(count: int) -> st.SearchStrategy[Trades]:
    return st.builds(Trades, **{name: arrays(INTEGERS.get(name, np.float64), count) for name in NAMES})


@given(st.integers(0, 3).flatmap(any_trades), st.integers(0, 2**40))
def test_decoding_gives_back_what_was_encoded(trades, step):
    again_step, again = decode(encode(trades, step))
    assert again_step == step
    assert same(again, trades)


@given(st.lists(st.integers(0, 2).flatmap(any_trades), min_size=2, max_size=2), st.tuples(*[st.integers(0, 1)] * 2))
def test_encodings_are_equal_only_for_equal_trades(pair, steps):
    bits = [tuple(getattr(trades, name).tobytes() for name in NAMES) for trades in pair]
    equal = bits[0] == bits[1] and steps[0] == steps[1]
    assert (encode(pair[0], steps[0]) == encode(pair[1], steps[1])) == equal


def test_the_encoding_does_not_depend_on_how_an_array_lies_in_memory():
    trades = some_trades(4)
    strided = {name: np.repeat(getattr(trades, name), 2)[::2] for name in NAMES}
    swapped = {name: column.astype(column.dtype.newbyteorder(">")) for name, column in strided.items()}
    wide = {name: column.astype(np.int64) if name in INTEGERS else column for name, column in strided.items()}
    assert {encode(Trades(**columns), 1) for columns in (strided, swapped, wide)} == {encode(trades, 1)}


@pytest.mark.parametrize("cut", [0, 10, 20, 60, 100, -1])
def test_decode_refuses_other_bytes(cut):
    content = encode(some_trades(2), 3)
    for other in (content[:cut], content + b"\0", b"x" + content[1:]):
        with pytest.raises(
            ValueError, match=r"content: got b.*; allowed: bytes that market\.records\.ledger\.encode wrote"
        ):
            decode(other)


# Errors


@pytest.mark.parametrize("content", [None, "block", 3, bytearray(b"market.ledger/1\n"), [b"a"]])
def test_decode_refuses_what_is_not_bytes(content):
    with pytest.raises(ValueError, match=r"^content: got .*; allowed: bytes$"):
        decode(content)


@pytest.mark.parametrize("dtype", [b"<m8", b"(2,)f8", b"O", b"a8", b"{'a':", b"", b"\xff", b"<f4"])
def test_decode_knows_two_types_of_numbers(dtype):
    written = encode(some_trades(2), 1)
    other = written.replace(b"\x03\0\0\0\0\0\0\0<i8", len(dtype).to_bytes(8, "little") + dtype, 1)
    with pytest.raises(ValueError, match=r"^content: got "):
        decode(other)


@pytest.mark.parametrize("difficulty", [-1, MAX_DIFFICULTY + 1, 1.5, "1", None, True])
def test_a_bad_difficulty_is_refused(difficulty):
    with pytest.raises(ValueError, match=r"difficulty: got .*; allowed: "):
        Ledger(difficulty)


@pytest.mark.parametrize("step", [-1, 0.5, None])
def test_a_bad_step_is_refused(step):
    with pytest.raises(ValueError, match=r"step: got .*; allowed: a whole number >= 0"):
        Ledger().append(some_trades(1), step)


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"fee: got an array of shape \(1,\); allowed: \(2,\)"):
        Ledger().append(replace(some_trades(2), fee=np.zeros(1)), 0)
