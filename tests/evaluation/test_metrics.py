"""The measures: hand-computed values, and what must hold for any input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procedural_memory.evaluation import metrics

RANKS = np.array([0, 2, -1, 4, 1])


def test_hit_rate_and_reciprocal_rank() -> None:
    """Ranks count from 0; what is not listed is a miss."""
    assert metrics.hit_rate(RANKS, 1).tolist() == [1, 0, 0, 0, 0]
    assert metrics.hit_rate(RANKS, 3).tolist() == [1, 1, 0, 0, 1]
    assert metrics.reciprocal_rank(RANKS, 4).tolist() == [1, 1 / 3, 0, 0, 1 / 2]


def test_log_loss_by_hand() -> None:
    """Listed: its probability. Not listed: what is left over, shared by the seen ones not listed and one new place."""
    assert metrics.log_loss([0.5, 0.2], 0, 9) == pytest.approx(math.log(2))
    assert metrics.log_loss([0.5, 0.2], -1, 9) == pytest.approx(-math.log(0.3 / 8))
    assert metrics.log_loss([], -1, 0) == 0.0
    assert metrics.log_loss([], -1, 9) == pytest.approx(math.log(10))
    assert metrics.log_loss([1.0], -1, 9) == pytest.approx(-math.log(metrics.FLOOR))
    assert metrics.log_loss([0.0, 0.4], 0, 3) == pytest.approx(-math.log(0.6 / 2))


def test_brier_by_hand() -> None:
    """Sure and right is 0, sure and wrong 2; the rest is spread as for the log loss."""
    assert metrics.brier_score([1.0], 0, 5) == 0.0
    assert metrics.brier_score([1.0, 0.0], 1, 1) == pytest.approx(2.0)
    # .6 on the listed one; .4 on two others, one of them right.
    assert metrics.brier_score([0.6], -1, 2) == pytest.approx(0.36 + (1 - 0.2) ** 2 + 0.04)


@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=10),
    st.integers(0, 10),
    st.integers(0, 30),
)
def test_scores_are_those_of_the_whole_distribution(weights: list[float], rank: int, more: int) -> None:
    """Both scores equal what the distribution written out in full gives."""
    listed = [weight / max(1.0, sum(weights)) for weight in weights]
    others = more + 1
    left = max(0.0, 1.0 - sum(listed)) / others
    full = np.array([*listed, *[left] * others])
    place = rank if rank < len(listed) else -1
    right = place if place >= 0 else len(listed)
    outcome = np.zeros(len(full))
    outcome[right] = 1.0
    seen = len(listed) + more
    assert metrics.brier_score(listed, place, seen) == pytest.approx(float(((full - outcome) ** 2).sum()), abs=1e-9)
    if full[right] > metrics.FLOOR:
        assert metrics.log_loss(listed, place, seen) == pytest.approx(-math.log(min(1.0, full[right])), abs=1e-9)
    assert 0.0 <= metrics.log_loss(listed, place, seen) <= -math.log(metrics.FLOOR) + 1e-9


def test_calibration_error_by_hand() -> None:
    """Two bins of two: |.3 - .5| and |.8 - 1|."""
    said, right = np.array([0.9, 0.2, 0.7, 0.4]), np.array([1.0, 1.0, 1.0, 0.0])
    assert metrics.calibration_error(said, right, bins=2) == pytest.approx(0.2)
    # A bin of two and a bin of one weigh as what they hold: |.1 - 0| and |.4 - 1|.
    assert metrics.calibration_error(np.array([0.1, 0.1, 0.4]), np.array([0.0, 0.0, 1.0]), bins=2) == pytest.approx(
        (2 * 0.1 + 0.6) / 3
    )
    mean, share, sizes = metrics.reliability(said, right, bins=2)
    assert mean == pytest.approx([0.3, 0.8])
    assert share == pytest.approx([0.5, 1.0])
    assert sizes.tolist() == [2, 2]


def test_calibration_error_of_honest_and_of_boasting_probabilities() -> None:
    """Outcomes drawn with the said probability give little error; always sure and half right gives half."""
    random = np.random.default_rng(1)
    said = random.random(20_000)
    assert metrics.calibration_error(said, (random.random(20_000) < said).astype(float)) < 0.02
    assert metrics.calibration_error(np.ones(100), np.tile([0.0, 1.0], 50)) == pytest.approx(0.5)
    assert math.isnan(metrics.calibration_error(np.array([]), np.array([])))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.integers(1, 20))
def test_bins_lose_nothing(pairs: list[tuple[float, bool]], bins: int) -> None:
    """Bins hold every prediction, are of nearly equal size, and the error lies between 0 and 1."""
    said, right = np.array([p for p, _ in pairs]), np.array([float(r) for _, r in pairs])
    mean, share, sizes = metrics.reliability(said, right, bins)
    assert sizes.sum() == len(pairs)
    assert sizes.max() - sizes.min() <= 1
    assert (mean * sizes).sum() == pytest.approx(said.sum())
    assert (share * sizes).sum() == pytest.approx(right.sum())
    assert 0.0 <= metrics.calibration_error(said, right, bins) <= 1.0 + 1e-9


def test_precision_and_coverage() -> None:
    """Of what is at least so probable, how much is right; and how much of all that is."""
    said, right = np.array([0.9, 0.7, 0.69, 0.1]), np.array([1.0, 0.0, 1.0, 0.0])
    assert metrics.precision_and_coverage(said, right, 0.7) == (0.5, 0.5)
    precision, coverage = metrics.precision_and_coverage(said, right, 0.95)
    assert math.isnan(precision)
    assert coverage == 0.0


def test_macro_mean_weighs_groups_alike() -> None:
    """A group of three and a group of one count the same."""
    assert metrics.macro_mean(np.array([1.0, 1.0, 1.0, 0.0]), np.array([0, 0, 0, 7])) == 0.5
    assert math.isnan(metrics.macro_mean(np.array([]), np.array([], dtype=int)))


def test_bootstrap_draws_units() -> None:
    """Units that are all alike give no width; the same values in clumps give a wider interval than apart."""
    values = np.tile([1.0, 0.0], 100)
    nothing = np.zeros(200, dtype=int)
    assert metrics.bootstrap_interval(values, np.arange(200) // 2, nothing) == (0.5, 0.5)
    apart = metrics.bootstrap_interval(values, np.arange(200), nothing)
    clumps = metrics.bootstrap_interval(np.sort(values), np.arange(200) // 20, nothing)
    assert apart[0] < 0.5 < apart[1]
    assert clumps[1] - clumps[0] > 2 * (apart[1] - apart[0])
    assert metrics.bootstrap_interval(values, np.arange(200), nothing) == apart


@given(st.lists(st.integers(-1, 9), min_size=1, max_size=40))
def test_measures_are_in_order(ranks: list[int]) -> None:
    """A longer list never hits less, and the reciprocal rank lies between the hits at 1 and at 10."""
    array = np.array(ranks)
    rates = [metrics.hit_rate(array, k).mean() for k in range(1, 11)]
    assert rates == sorted(rates)
    assert rates[0] - 1e-12 <= metrics.reciprocal_rank(array, 10).mean() <= rates[-1] + 1e-12


def test_area_under_curve_by_hand() -> None:
    """Pairs told apart, ties one half; nan of one kind alone."""
    right = np.array([1.0, 0.0, 1.0, 0.0])
    assert metrics.area_under_curve(np.array([0.9, 0.1, 0.8, 0.2]), right) == 1.0
    assert metrics.area_under_curve(np.array([0.1, 0.9, 0.2, 0.8]), right) == 0.0
    assert metrics.area_under_curve(np.array([0.9, 0.5, 0.1, 0.3]), right) == 0.5
    assert metrics.area_under_curve(np.array([0.7, 0.7, 0.9, 0.1]), right) == (0.5 + 1 + 1 + 1) / 4
    assert math.isnan(metrics.area_under_curve(np.array([0.1, 0.2]), np.array([1.0, 1.0])))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_area_is_the_share_of_pairs(items: list[tuple[int, bool]]) -> None:
    """Counting every pair gives the same."""
    scores, right = (np.array(column, dtype=float) for column in zip(*items, strict=True))
    pairs = [(a > b) + (a == b) / 2 for a in scores[right > 0] for b in scores[right == 0]]
    if pairs:
        assert metrics.area_under_curve(scores, right) == pytest.approx(np.mean(pairs))


def test_area_interval_holds_the_area_and_narrows() -> None:
    """The interval lies around the value, more sessions make it narrower, and it is the same each time."""
    random = np.random.default_rng(3)
    widths = []
    for n in (40, 640):
        right: metrics.Floats = np.arange(n, dtype=np.float64) % 2.0
        scores: metrics.Floats = np.array(right + random.normal(size=n), dtype=np.float64)
        low, high = metrics.area_interval(scores, right, 200)
        assert low <= metrics.area_under_curve(scores, right) <= high
        assert (low, high) == metrics.area_interval(scores, right, 200)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
    assert math.isnan(metrics.area_interval(np.array([0.5]), np.array([1.0]))[0])
