"""Intervals, p-values and Holm's correction: worked by hand, against scipy, and on simulated data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from datapruner.evaluation.paired_statistics import holm, p_above, paired_difference, seeds_needed


def test_worked_by_hand() -> None:
    # mean 2, standard deviation 1, t(2, .975) = 4.302653: half the interval is 4.302653 / sqrt(3)
    found = paired_difference([1.0, 2.0, 3.0])
    assert (found.n, found.mean, found.deviation) == (3, 2.0, 1.0)
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-6)
    # of two degrees of freedom P(T > t) = (1 - t / sqrt(2 + t^2)) / 2
    t = 2 * math.sqrt(3)
    tail = (1 - t / math.sqrt(2 + t * t)) / 2
    assert found.p == pytest.approx(2 * tail, abs=1e-12)
    assert p_above([1.0, 2.0, 3.0], 0.0) == pytest.approx(tail, abs=1e-12)
    assert p_above([1.0, 2.0, 3.0], 2.0) == pytest.approx(0.5)
    assert p_above([1.0, 2.0, 3.0], 4.0) == pytest.approx(1 - tail, abs=1e-12)


def test_the_p_value_is_scipys() -> None:
    from scipy.stats import ttest_1samp

    draw = np.random.default_rng(0)
    for n in (2, 5, 13):
        values = draw.normal(0.3, 1, n).tolist()
        assert paired_difference(values).p == pytest.approx(ttest_1samp(values, 0).pvalue, rel=1e-9)
        wanted = ttest_1samp(values, -0.2, alternative="greater").pvalue
        assert p_above(values, -0.2) == pytest.approx(wanted, rel=1e-9)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Coverage over 4,000 experiments: 3 standard errors of 95 % are 1.03 points."""
    draw, held, n_experiments = np.random.default_rng(1), 0, 4000
    for values in draw.normal(0.7, 2.0, (n_experiments, 5)).tolist():
        found = paired_difference(values)
        held += found.low <= 0.7 <= found.high
    assert abs(held / n_experiments - 0.95) < 3 * math.sqrt(0.95 * 0.05 / n_experiments)


def test_p_values_of_nothing_are_uniform() -> None:
    draw = np.random.default_rng(2)
    found = np.array([paired_difference(values).p for values in draw.normal(size=(4000, 4)).tolist()])
    for level in (0.01, 0.05, 0.5):
        assert abs((found <= level).mean() - level) < 3 * math.sqrt(level * (1 - level) / 4000)


def test_holm_worked_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.02, 0.9]) == pytest.approx([1.0, 0.06, 1.0])
    assert holm([]) == []
    assert holm([0.2]) == [0.2]


def test_holm_keeps_the_chance_of_any_false_rejection() -> None:
    """Eight selections that are draws, compared with one draw: their differences share it, as in an evaluation.

    Uncorrected, one of the eight is "found" in a fourth of the experiments.
    """
    draw, n_experiments, plain, corrected = np.random.default_rng(3), 1500, 0, 0
    for _ in range(n_experiments):
        baseline = draw.normal(size=5)
        values = draw.normal(size=(8, 5)) - baseline
        found = [paired_difference(row).p for row in values.tolist()]
        plain += min(found) <= 0.05
        corrected += min(holm(found)) <= 0.05
    error = 3 * math.sqrt(0.05 * 0.95 / n_experiments)
    assert corrected / n_experiments <= 0.05 + error
    assert plain / n_experiments > 0.05 + 2 * error


def test_holm_is_not_more_careful_than_need_be() -> None:
    """Of independent nulls Bonferroni's bound is nearly reached; a real effect beside them is found."""
    draw, n_experiments, false, found = np.random.default_rng(4), 1500, 0, 0
    for _ in range(n_experiments):
        null = [paired_difference(row).p for row in draw.normal(size=(4, 5)).tolist()]
        real = paired_difference(draw.normal(4, 1, 5).tolist()).p
        corrected = holm([*null, real])
        false += min(corrected[:4]) <= 0.05
        found += corrected[4] <= 0.05
    error = 3 * math.sqrt(0.05 * 0.95 / n_experiments)
    assert 0.03 - error <= false / n_experiments <= 0.05 + error
    assert found / n_experiments > 0.75


def test_seeds_needed_worked_by_hand() -> None:
    # (1.96 + 0.84)^2 = 7.849: a deviation of a fourth of a point shows a fifth of a point with 13 seeds
    assert seeds_needed(0.25, 0.2) == 13
    assert seeds_needed(0.25, 0.5) == 2
    with pytest.raises(ValueError, match="above 0"):
        seeds_needed(0.1, 0.0)


def test_equal_differences_are_not_taken_for_certainty() -> None:
    found = paired_difference([0.01] * 5)
    assert (found.low, found.high) == pytest.approx((0.01, 0.01))
    # five coins on one side
    assert found.p == pytest.approx(2 * 0.5**5)
    assert paired_difference([0.0] * 5).p == 1.0


@pytest.mark.parametrize("values", [[0.1], [], [0.1, math.nan], [math.inf, 0.0]])
def test_refuses_what_says_nothing(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two finite"):
        paired_difference(values)
