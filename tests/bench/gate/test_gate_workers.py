"""The gate's workers and pairs of them: they answer, fail, hang, die and take turns."""

from __future__ import annotations

import functools
import os
import re

import pytest

from benches.gate.pair import Failed, Pair, Worker
from gate_support import make_checkout


@pytest.fixture
def checkout(tmp_path):
    return functools.partial(make_checkout, tmp_path)


# --- one worker


def ask(worker, limit, **request):
    worker.send(request)
    return worker.receive(limit)


@pytest.fixture
def worker(checkout):
    cases = """
        spinning(1000),
        toy("toy/raises", lambda p, r: 1 / 0),
        toy("toy/memory", lambda p, r: bytearray(1 << 60)),
        toy("toy/killed", lambda p, r: os.kill(os.getpid(), signal.SIGKILL)),
        toy("toy/hangs", lambda p, r: time.sleep(60)),
        toy("toy/loud", lambda p, r: print("{not json") or os.write(1, b"nor this")),
        toy("toy/unbuilt", print, setup=lambda p: (_ for _ in ()).throw(Unsupported("not built yet"))),
    """
    turns = os.pipe()
    with Worker(checkout("tree", cases), turns) as worker:
        yield worker
    for end in turns:
        os.close(end)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("raises", "ZeroDivisionError: division by zero"),
        ("memory", "open: out of memory|MemoryError|OverflowError"),
        ("unbuilt", "Unsupported: not built yet"),
    ],
)
def test_a_case_that_fails_is_told_and_the_worker_goes_on(worker, case, message):
    told = ask(worker, 20, do="open", case=f"toy/{case}", params={"n": 1})
    assert re.search(message, told["error"])
    assert "lost" not in told
    assert ask(worker, 20, do="open", case="toy/spin", params={"n": 1})["cost"] > 0


def test_a_worker_that_is_killed_says_so(worker):
    told = ask(worker, 20, do="open", case="toy/killed", params={"n": 1})
    assert told == {"error": "killed by SIGKILL, which usually means out of memory", "lost": True}


def test_a_worker_that_hangs_is_killed_and_leaves_no_process(worker):
    ask(worker, 20, do="listing", profile="quick")
    told = ask(worker, 1, do="open", case="toy/hangs", params={"n": 1})
    assert told == {"error": "no answer within 1 s; killed", "lost": True}
    assert worker._process.returncode is not None


def test_what_a_case_prints_does_not_disturb(worker):
    assert ask(worker, 20, do="open", case="toy/loud", params={"n": 1})["cost"] >= 0


def test_a_table_that_does_not_load_is_told(checkout):
    turns = os.pipe()
    with Worker(checkout("tree", "1 / 0"), turns) as worker:
        assert "cases cannot be imported" in ask(worker, 20, do="listing", profile="quick")["error"]
    for end in turns:
        os.close(end)


# --- a pair of workers


def test_sides_take_turns_and_both_see_the_same_rounds(checkout, tmp_path):
    log = tmp_path / "log"
    cases = f"toy('toy/log', lambda p, r: open({str(log)!r}, 'a').write(f'{{os.getcwd()[-1]}}{{r}} '))"
    folders = {"base": checkout("a", cases), "head": checkout("b", cases)}
    with Pair(folders, 20) as pair:
        cell = pair.listing("quick")["base"][0]
        with pair.opened(cell):
            log.write_text("")
            sampled = pair.sample(2, 3, "cpu")
    turns = ["a10", "a11", "b10", "b11", "a12", "a13", "b12", "b13", "a14", "a15", "b14", "b15"]
    assert log.read_text().split() == turns
    assert sampled.ratios("wall").shape == (3,)


@pytest.mark.slow  # waits for a time-out
def test_the_side_that_hangs_in_the_middle_is_blamed_and_the_pair_goes_on(checkout):
    hang = "toy('toy/hang', lambda p, r: time.sleep(60 if r > 11 else 0)), spinning(1000)"
    fine = "toy('toy/hang', lambda p, r: None), spinning(1000)"
    with Pair({"base": checkout("a", fine), "head": checkout("b", hang)}, 2) as pair:
        cells = pair.listing("quick")["base"]
        with pytest.raises(Failed, match="no answer within 2 s; killed") as failed, pair.opened(cells[0]):
            pair.sample(1, 5, "cpu")
        assert failed.value.side == "head"
        with pair.opened(cells[1]):
            assert len(pair.sample(1, 5, "cpu").ratios("cpu")) == 5
