"""The scaling fit finds exponents that were put in, and says so when the data cannot tell."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from benches.stats import scaling
from benches.stats.coverage import DRIFTS, LAWS, coverage

SIZES = (1, 5, 10, 20, 50, 100)


def samples(law, sizes=SIZES, *, noise=0.03, rounds=10, seed=0):
    """Rounds of `law(N)` with one-sided noise, as a loaded machine gives them."""
    rng = np.random.default_rng(seed)
    return {float(n): (law(n) * np.exp(np.abs(rng.normal(0, noise, rounds)))).tolist() for n in sizes}


@pytest.mark.parametrize(
    ("law", "truth"),
    [
        (lambda n: 0.1 + 0.01 * n, 1.0),
        (lambda n: 0.01 * n, 1.0),
        (lambda n: 0.01 * n**0.5, 0.5),
        (lambda n: 0.1 + 1e-4 * n**2, 2.0),
        (lambda n: 0.02 + 0.004 * n**1.5, 1.5),
    ],
    ids=["floor-linear", "linear", "root", "floor-quadratic", "three-halves"],
)
def test_known_exponents_are_found(law, truth):
    fit = scaling.fit([samples(law)])
    assert fit.exponent == pytest.approx(truth, abs=0.06)
    assert fit.low <= fit.exponent <= fit.high
    assert fit.high - fit.low < 0.3
    assert fit.basis == "rounds"
    assert not fit.reason
    assert fit.time(100) == pytest.approx(law(100), rel=0.1)


def test_the_fit_is_unbiased_where_a_plain_line_is_not():
    law = lambda n: 0.1 + 0.01 * n  # noqa: E731
    found = [scaling.fit([samples(law, rounds=5, seed=seed)]).exponent for seed in range(30)]
    assert np.mean(found) == pytest.approx(1.0, abs=0.02)
    plain = np.polyfit(np.log(SIZES), np.log([law(n) for n in SIZES]), 1)[0]
    assert plain < 0.7


def test_an_outlying_size_hardly_moves_the_exponent():
    data = samples(lambda n: 0.01 + 0.01 * n)
    data[20.0] = [3 * second for second in data[20.0]]
    assert scaling.fit([data]).exponent == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (samples(lambda n: n, (1, 2, 3)), "only 3 of the 4 sizes"),
        (samples(lambda n: n, (10, 11, 12, 13)), "span a factor 1.3"),
        (samples(lambda n: 0.1), "the floor dominates: time grows"),
        (samples(lambda n: 0.1 if n < 100 else 0.4), "the exponent runs to the bound 4"),
        (samples(lambda n: (1, 9, 2, 30, 4, 60)[SIZES.index(n)]), "no power law fits"),
        (samples(lambda n: 0.001 * n**0.7, (1, 2, 4, 8), noise=1.0, rounds=3), "too wide"),
        (samples(lambda n: 0.1 + 0.01 * n, rounds=1), "under 3 rounds of one process"),
        ({**samples(lambda n: n), 0.0: [1.0]}, "not a positive number"),
        ({}, "only 0 of the 4 sizes"),
    ],
    ids=["few", "narrow", "flat", "jump", "zigzag", "noisy", "once", "zero-size", "empty"],
)
def test_an_exponent_that_the_data_cannot_carry_is_nan_with_the_reason(data, reason):
    fit = scaling.fit([data])
    assert math.isnan(fit.exponent)
    assert math.isnan(fit.low)
    assert math.isnan(fit.high)
    assert reason in fit.reason
    assert fit.verdict == "undetermined"
    assert math.isnan(fit.time(10))


def slow_fit(sizes, times):
    """The law of least soft-L1 error in logs, by scipy from many starts."""
    x, y = np.log(sizes), np.log(times)
    bounds = ([y.min() - 12, y.min() - 30, 0], [y.min() + 1, y.max() + 1, 4])
    starts = [
        (y.min() + floor, min(y[-1] - k * x[-1], y.max()), k)
        for floor in (-11.9, -4, -0.7, -0.05)
        for k in (0.3, 0.6, 1, 1.5, 2, 3)
    ]
    found = [
        optimize.least_squares(
            lambda p: np.logaddexp(p[0], p[1] + p[2] * x) - y,
            np.clip(start, *bounds),
            bounds=bounds,
            loss="soft_l1",
            f_scale=scaling.NOISE,
            xtol=1e-12,
            ftol=1e-12,
        )
        for start in starts
    ]
    floor, factor, exponent = min(found, key=lambda result: result.cost).x
    return scaling.Law(math.exp(floor), math.exp(factor), exponent)


@pytest.mark.parametrize("noise", [0.001, 0.03, 0.1])
@pytest.mark.parametrize(("floor", "factor", "exponent"), [(0.1, 0.01, 1.1), (0, 0.01, 0.6), (5, 1e-3, 2), (1, 1, 0.4)])
def test_few_starts_with_slopes_find_what_many_find_without(floor, factor, exponent, noise):
    sizes = np.array(SIZES, float)
    times = (floor + factor * sizes**exponent) * np.exp(np.random.default_rng(3).normal(0, noise, len(sizes)))
    at, logs = np.log(sizes) - np.log(sizes).mean(), np.log(times)
    best = scaling._best(at, logs, *scaling._starts(at, logs))
    left_out = scaling._best(np.delete(at, 2), np.delete(logs, 2), best)
    whole, part = (scaling._law(p, sizes) for p in (best, left_out))
    slow, slow_part = slow_fit(sizes, times), slow_fit(np.delete(sizes, 2), np.delete(times, 2))
    assert whole.exponent == pytest.approx(slow.exponent, abs=1e-4)
    for size in np.delete(sizes, 2):
        assert whole.time(size) == pytest.approx(slow.time(size), rel=1e-4)
        assert part.time(size) == pytest.approx(slow_part.time(size), rel=1e-3)


def test_three_processes_are_resampled_whole():
    slow = (1.0, 1.03, 1.08, 1.02)
    runs = [samples(lambda n, s=s: s * (0.1 + 0.01 * n**s), seed=i) for i, s in enumerate(slow)]
    fit = scaling.fit(runs)
    assert fit.basis == "processes"
    within = scaling.fit(runs[:1])
    assert fit.high - fit.low > 3 * (within.high - within.low), "processes that differ must widen the interval"


def test_a_size_that_one_process_lacks_does_not_end_the_fit():
    runs = [samples(lambda n: 0.1 + 0.01 * n, seed=seed) for seed in range(4)]
    del runs[0][100.0]
    assert scaling.fit(runs).exponent == pytest.approx(1.0, abs=0.1)


def test_the_verdict_comes_from_the_interval():
    def verdict(low, high):
        return scaling.Scaling((), (), (low + high) / 2, low, high).verdict

    assert verdict(0.8, 0.95) == "sub-linear"
    assert verdict(1.05, 1.5) == "super-linear"
    assert verdict(0.9, 1.05) == "near-linear"
    assert verdict(0.65, 1.05) == "undetermined", "an interval that wide says nothing"
    assert scaling.Scaling((), ()).verdict == "undetermined"
    assert scaling.fit([samples(lambda n: 0.01 * n**0.5)]).verdict == "sub-linear"
    assert scaling.fit([samples(lambda n: 0.01 * n**2)]).verdict == "super-linear"


def drifting(process, *, blocks=4, drift=0.1, gaps=False):
    """Rounds of 0.1 + 0.01 n whose blocks differ in speed by `drift`; the largest size may lack the last blocks."""
    rng = np.random.default_rng(process)
    speed = np.exp(rng.normal(0, drift, blocks))
    found = {float(n): (speed * (0.1 + 0.01 * n) * np.exp(rng.normal(0, 0.002, blocks))).tolist() for n in SIZES}
    return found | {100.0: found[100.0][: 1 if gaps else blocks]}


@pytest.mark.parametrize("gaps", [False, True])
def test_what_a_block_has_in_common_cancels(gaps):
    fit = scaling.fit([drifting(process, gaps=gaps) for process in range(4)])
    assert fit.exponent == pytest.approx(1.0, abs=0.02)
    assert fit.high - fit.low < 0.08, "blocks differ by 10 %, and sizes within them by 0.2 %"


def slow_columns(table):
    """Column effects by least squares, with an unknown for each row."""
    rows, columns = np.nonzero(~np.isnan(table))
    design = np.hstack([np.eye(len(table))[rows], np.eye(table.shape[1])[columns]])
    return (np.linalg.pinv(design) @ table[rows, columns])[len(table) :]


@given(st.integers(2, 5), st.integers(2, 7), st.integers(0, 2**32 - 1))
def test_columns_of_a_table_with_gaps_are_those_of_least_squares(rows, columns, seed):
    rng = np.random.default_rng(seed)
    table = rng.normal(0, 1, (rows, columns))
    gaps = rng.random(table.shape) < 0.3
    gaps[0], gaps[:, 0] = False, False  # else rows and columns need not hang together
    table[gaps] = np.nan
    found, slow = scaling.additive(table), slow_columns(table)
    np.testing.assert_allclose(found - found.mean(), slow - slow.mean(), atol=1e-6)


@given(st.integers(1, 6), st.integers(2, 7), st.integers(0, 2**32 - 1))
def test_the_polish_finds_columns_and_rows_that_were_added(rows, columns, seed):
    rng = np.random.default_rng(seed)
    column, row = rng.normal(0, 1, columns), rng.normal(0, 1, (rows, 1))
    found = scaling.polished(column + row)
    np.testing.assert_allclose(found - found.mean(), column - column.mean(), atol=1e-9)


def test_the_simulated_intervals_hold_as_often_as_they_say():
    """A few of what `python -m benches.stats.coverage` prints."""
    found = [coverage(0.1, exponent, floor, 40) for exponent, floor in LAWS[::2]]
    assert min(each.held for each in found) >= 0.85
    assert max(each.undetermined for each in found) <= 0.05
    assert max(each.width for each in found) <= 0.2
    apart = coverage(0.1, *LAWS[0], 40, turns=False)
    assert apart.spread > 1.3 * found[0].spread, "turns are what makes the difference"


@pytest.mark.slow
@pytest.mark.parametrize("drift", DRIFTS)
@pytest.mark.parametrize(("exponent", "floor"), LAWS)
def test_the_intervals_cover_and_few_are_undetermined(drift, exponent, floor):
    found = coverage(drift, exponent, floor, 400)
    assert found.held >= 0.92, "95 % and three standard deviations of 400 draws less"
    assert found.undetermined <= 0.05
    assert found.widest <= 0.3


@pytest.mark.parametrize("truth", [50, 100, 300])
def test_the_knee_is_where_growth_passes_linear(truth):
    sizes = (1, 5, 10, 20, 50, 100, 200, 500, 1000)
    fit = scaling.fit([samples(lambda n: 1 + 1e-3 * n + (n / truth) ** 2, sizes)])
    assert fit.knee == pytest.approx(truth, rel=0.1)
    law = fit.law
    assert law.time(fit.knee * 1.001) / law.time(fit.knee) == pytest.approx(1.001, abs=1e-5)


@pytest.mark.parametrize(
    ("floor", "factor", "power"),
    [(0.1, 1, 1), (0, 1, 1), (5, 1, 0.5), (7, 0, 1), (0, 1, 2), (100, 1e-3, 2), (0.1, 1, 1.05)],
    ids=["floor-linear", "linear", "root", "flat", "from-the-start", "beyond-the-sizes", "hardly"],
)
def test_there_is_no_knee_unless_growth_becomes_superlinear_at_a_measured_size(floor, factor, power):
    assert math.isnan(scaling.fit([samples(lambda n: floor + factor * n**power, noise=0.02)]).knee)


def test_the_same_data_gives_the_same_interval():
    data = samples(lambda n: 0.1 + 0.01 * n)
    assert scaling.fit([data]) == scaling.fit([data])
