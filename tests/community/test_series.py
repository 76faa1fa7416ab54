"""Series of your own: from arrays and CSV files to a row per agent, or a one-line error."""

from __future__ import annotations

import numpy as np
import pytest

from market.community.series import as_profile


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ([1, 2, 3], [[1, 2, 3], [1, 2, 3]]),
        ([[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5, 6]]),
        (7, [[7, 7, 7], [7, 7, 7]]),
    ],
)
def test_arrays_become_one_row_per_agent(source, expected):
    profile = as_profile(source, 3, 2, "generation")
    assert profile.dtype == np.float64
    assert profile.tolist() == expected


def test_profiles_are_copies():
    source = np.ones((2, 3))
    as_profile(source, 3, 2, "demand")[:] = 5
    assert (source == 1).all()
    shared = as_profile(np.ones(3), 3, 2, "demand")
    shared[0] = 5
    assert (shared[1] == 1).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kwh\n1\n2.5\n3e0\n", [[1, 2.5, 3], [1, 2.5, 3]]),
        ("a,b\n1,4\n2,5\n3,6\n", [[1, 2, 3], [4, 5, 6]]),
        ("\ufeffa,b\r\n1, 4\r\n2, 5\r\n3, 6\r\n\r\n", [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_csv_files_have_a_column_per_agent_or_one_for_all(tmp_path, text, expected):
    path = tmp_path / "profile.csv"
    path.write_bytes(text.encode())
    for source in (path, str(path)):
        assert as_profile(source, 3, 2, "generation").tolist() == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([1, 2], r"generation: got shape \[2\]; allowed: a number or \[3\] or \[2, 3\]$"),
        ([[1, 2], [3, 4]], r"generation: got shape \[2, 2\]; allowed"),
        ([[1, 2, 3]], r"generation: got shape \[1, 3\]; allowed"),
        ([[1, 2], [3, 4], [5, 6]], r"generation: got shape \[3, 2\]; allowed: .*; did you mean its transpose\?"),
        ([], r"generation: got shape \[0\]; allowed: at least one step"),
        ([1, np.nan, 3], "generation: got nan at 1; allowed: finite numbers >= 0"),
        ([[1, 2, 3], [1, 2, -0.5]], r"generation: got -0\.5 at \[1, 2\]; allowed: finite numbers >= 0"),
        ([1, np.inf, 3], "generation: got inf at 1;"),
        (np.ones((1, 2, 3)), r"generation: got shape \[1, 2, 3\]"),
        ([[1, 2, 3], [1, 2]], r"generation: got .*; allowed: finite numbers >= 0 .*\[agents, steps\]"),
        ([1, None, "x"], r"generation: got .*; allowed: finite numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        as_profile(source, 3, 2, "generation")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "demand: got .* without a header; allowed: a row of names, then a row"),
        (b"a\n", r"demand: got shape \[0\]; allowed: at least one step"),
        (b"1\n2\n3\n4\n", "demand: got .* without a header; allowed: a row of names, then a row"),
        (b"1,2\n1,2\n1,2\n1,2\n", "demand: got .* without a header"),
        (b"a\n1\n2\n3\n4\n", r"demand: got shape \[4\]; allowed: a number or \[3\]"),
        (b"a,b,c\n1,2,3\n1,2,3\n1,2,3\n", r"demand: got shape \[3, 3\]; allowed: .*\[2, 3\]"),
        (b"a,b\n1,2\n3\n1,2\n", r"demand: got \['3'\] in row 3 of .*profile\.csv; allowed: 2 numbers"),
        (b"a,b\n1,2\n1,x\n1,2\n", r"demand: got \['1', 'x'\] in row 3 of .*profile\.csv; allowed: 2 numbers"),
        (b"a,b\n1,2\n1,\n1,2\n", r"demand: got \['1', ''\] in row 3 of"),
        (b"a,b\n1,2\n1,nan\n1,2\n", r"demand: got nan at \[1, 1\]; allowed: finite numbers >= 0"),
        (b"a\n1\n-2\n3\n", r"demand: got -2\.0 at 1; allowed: finite numbers >= 0"),
        (b"a\n\xff\xfe\n", "demand: got .*; allowed: a CSV file that can be read"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "profile.csv"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=message) as error:
        as_profile(path, 3, 2, "demand")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"demand: got '.*none\.csv'; allowed: a CSV file that can be read \(No such"):
        as_profile(tmp_path / "none.csv", 3, 2, "demand")
    with pytest.raises(ValueError, match=r"demand: got .*; allowed: a CSV file that can be read \(Is a directory"):
        as_profile(tmp_path, 3, 2, "demand")
