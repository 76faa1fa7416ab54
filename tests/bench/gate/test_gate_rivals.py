"""The usual ways to find a slowdown, as `gate_quality` runs them: each compares every probe."""

from __future__ import annotations

import pytest

from benches.gate.quality import rivals
from benches.gate.quality.probes import probes


@pytest.mark.slow  # about a minute: whole sessions of the other tools
@pytest.mark.parametrize("tool", [rivals.pytest_benchmark, rivals.asv_continuous])
def test_a_rival_judges_every_probe(tool, tmp_path):
    rows = tool(tmp_path)
    assert [row["name"] for row in rows] == list(probes(slow=False, equal=2))
    assert {type(row["flagged"]) for row in rows} == {bool}
