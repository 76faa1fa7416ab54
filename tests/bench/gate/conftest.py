"""The gate run over two tables of toy cases."""

from __future__ import annotations

import functools
import json

import pytest

from benches.gate import __main__ as gate
from benches.gate import pair as gate_pair
from gate_support import make_checkout


@pytest.fixture
def checkout(tmp_path):
    return functools.partial(make_checkout, tmp_path)


@pytest.fixture
def compare(checkout, tmp_path, monkeypatch, capsys):
    """Runs the gate over two tables; its status, what it printed, and its JSON."""
    monkeypatch.setattr(gate_pair, "SHARE", 0.06)

    def run(base, head, *arguments):
        folders = [str(checkout(name, cases)) for name, cases in (("base", base), ("head", head))]
        status = gate.main([*folders, "--output", str(tmp_path / "out"), "--budget", "60", *arguments])
        printed = capsys.readouterr()
        file = tmp_path / "out" / "gate.json"
        return status, printed.out + printed.err, json.loads(file.read_text()) if file.exists() else {}

    return run
