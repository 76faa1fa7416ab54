"""The scaling fit finds exponents that were put in, and says so when the data cannot tell."""

import math

import numpy as np
import pytest
from scipy import optimize

from benches.stats import scaling

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
    found = [scaling.fit([samples(law, rounds=5, seed=seed)], replicates=0).exponent for seed in range(30)]
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
        (samples(lambda n: 0.1 if n < 100 else 0.4), "the floor dominates: only"),
        (samples(lambda n: 0.1 + 0.5 * (n / 100) ** 4), "the floor dominates: only"),
        (samples(lambda n: (1, 9, 2, 30, 4, 60)[SIZES.index(n)]), "no power law fits"),
        (samples(lambda n: 0.001 * n**0.7, (1, 2, 4, 8), noise=1.0, rounds=3), "too wide"),
        ({**samples(lambda n: n), 0.0: [1.0]}, "not a positive number"),
        ({}, "only 0 of the 4 sizes"),
    ],
    ids=["few", "narrow", "flat", "jump", "late", "zigzag", "noisy", "zero-size", "empty"],
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
def test_the_solver_agrees_with_scipys(floor, factor, exponent, noise):
    sizes = np.array(SIZES, float)
    times = (floor + factor * sizes**exponent) * np.exp(np.random.default_rng(3).normal(0, noise, len(sizes)))
    starts, kept = scaling._starts(sizes, times), 1 - np.eye(len(sizes))
    found, cost = scaling._solve(sizes, np.tile(times, (len(starts), 1)), starts)
    best = found[np.argmin(cost)]
    left_out, _ = scaling._solve(sizes, np.tile(times, (len(sizes), 1)), best, kept)
    whole, part = (scaling._law(p, sizes) for p in (best, left_out[2]))
    slow, slow_part = slow_fit(sizes, times), slow_fit(np.delete(sizes, 2), np.delete(times, 2))
    assert whole.exponent == pytest.approx(slow.exponent, abs=1e-4)
    for size in np.delete(sizes, 2):
        assert whole.time(size) == pytest.approx(slow.time(size), rel=1e-4)
        assert part.time(size) == pytest.approx(slow_part.time(size), rel=1e-3)


def test_one_round_gives_an_interval_over_the_sizes_alone():
    fit = scaling.fit([samples(lambda n: 0.1 + 0.01 * n, rounds=1)])
    assert fit.low < 1.0 < fit.high
    assert fit.basis == "sizes"


def test_a_bend_that_repeats_in_every_round_widens_the_interval():
    straight = samples(lambda n: 0.1 + 0.01 * n, noise=0.001)
    bent = samples(lambda n: (0.1 + 0.01 * n) * (1.3 if n == 100 else 1), noise=0.001)
    fits = [scaling.fit([data]) for data in (straight, bent)]
    assert fits[0].high - fits[0].low < 0.1
    assert fits[1].low < 1.0 < fits[1].high


def test_three_processes_are_resampled_whole():
    slow = (1.0, 1.2, 1.5, 1.1)
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
    assert scaling.fit([samples(lambda n: 0.01 * n**0.5)]).verdict == "sub-linear"
    assert scaling.fit([samples(lambda n: 0.01 * n**2)]).verdict == "super-linear"
    wide = scaling.fit([samples(lambda n: 0.1 + 0.01 * n, noise=0.1, rounds=20)])
    assert wide.low < 1 < wide.high
    assert wide.verdict == "near-linear"


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
