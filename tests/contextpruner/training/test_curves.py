"""The curve of recall against compression, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from contextpruner.training.evaluation.curves import Cut, JudgedUnits, recall_curve, size_weights


def units(probabilities: list[float], sizes: list[int], gold: list[int], source: str = "") -> JudgedUnits:
    return JudgedUnits(np.array(probabilities), np.array(sizes), np.array(gold) > 0, source)


# two questions; the second has two gold units, and a unit with the number of one of the first's
QUESTIONS = [units([0.9, 0.2, 0.1], [10, 30, 60], [1, 0, 0]), units([0.2, 0.8, 0.05], [20, 30, 50], [1, 1, 0])]


def test_points_by_hand() -> None:
    curve = recall_curve(QUESTIONS)
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.2, 0.1, 0.05]
    np.testing.assert_allclose(curve.removed, [0.95, 0.8, 0.55, 0.25, 0], atol=1e-12)
    np.testing.assert_allclose(curve.recall, [0.5, 0.75, 1, 1, 1], atol=1e-12)
    np.testing.assert_allclose(curve.all_gold, [0.5, 0.5, 1, 1, 1], atol=1e-12)
    area = 0.05 * 0.25 + 0.15 * 0.625 + 0.25 * 0.875 + 0.55
    assert curve.area == pytest.approx(area, abs=1e-12)


def test_characters_count_together_within_a_source_and_sources_the_same() -> None:
    long, short = units([0.5, 0.4], [900, 1100], [1, 0]), units([0.6, 0.3], [40, 60], [1, 0])
    # an oracle has room for a short text's gold out of what a long one leaves
    curve = recall_curve([long, short])
    np.testing.assert_allclose(curve.removed, [1 - 40 / 2100, 1 - 940 / 2100, 60 / 2100, 0], atol=1e-12)
    apart = recall_curve([long, units([0.6, 0.3], [40, 60], [1, 0], "other")])
    np.testing.assert_allclose(apart.removed, [0.8, 0.575, 0.3, 0], atol=1e-12)
    assert size_weights([("a", 30), ("b", 20), ("a", 70), ("c", 0)]) == pytest.approx([0.005, 0.025, 0.005, 0.5])


def test_the_lowest_threshold_that_removes_enough() -> None:
    curve = recall_curve(QUESTIONS)
    assert [curve.at_removed(share) for share in (0.96, 0.95, 0.7, 0.55, 0)] == [None, 0, 1, 2, 4]


def test_between_two_points_questions_are_divided() -> None:
    curve = recall_curve(QUESTIONS)
    # at .8 80 % are removed, at .2 55 %: 70 % where two of five questions are cut at .2
    cut = curve.cut(0.7)
    assert (cut.threshold, cut.below) == (0.8, 0.2)
    assert cut.share == pytest.approx(0.4)
    kept = [sum(share * (mask & one.gold).sum() / one.gold.sum() for share, mask in cut.choices(one.probabilities))
            for one in QUESTIONS]  # fmt: skip
    assert np.mean(kept) == pytest.approx(np.interp(0.7, curve.removed[::-1], curve.recall[::-1]))
    assert curve.cut(0.8) == Cut(0.8)
    assert curve.cut(0) == Cut(0.05)
    first = curve.cut(0.99)
    assert (first.threshold, first.below) == (None, 0.9)
    assert first.share == pytest.approx(0.2)
    assert [mask.tolist() for _, mask in first.choices(np.array([0.9, 0.5]))] == [[False, False], [True, False]]
    # what has one number is kept together or not at all, and is the diagonal
    flat = recall_curve([units([0.5, 0.5], [10, 90], [1, 0])]).cut(0.7)
    assert (flat.threshold, flat.below, round(flat.share, 6)) == (None, 0.5, 0.3)


def test_a_thinned_curve_keeps_its_ends_and_its_area() -> None:
    draw = np.random.default_rng(0)
    curve = recall_curve([units(draw.random(9).tolist(), [10] * 9, [1] + [0] * 8) for _ in range(200)])
    thin = curve.thinned(51)
    assert 40 <= len(thin.thresholds) <= 51
    assert (thin.removed[0], thin.removed[-1]) == (curve.removed[0], curve.removed[-1])
    assert thin.area == pytest.approx(curve.area, abs=0.005)
    assert curve.thinned(5000) is curve


def test_questions_without_gold_count_for_what_is_removed() -> None:
    curve = recall_curve([*QUESTIONS, units([0.85], [10], [0])])
    at = curve.thresholds.tolist().index(0.85)
    assert curve.removed[at] == pytest.approx(1 - (10 + 10) / (100 + 100 + 10))
    assert curve.recall[at] == 0.5
    with pytest.raises(ValueError, match="want a question with a gold unit, got 1 without"):
        recall_curve([units([0.85], [10], [0])])


def test_order_changes_nothing_and_a_better_labeler_has_more_area() -> None:
    draw = np.random.default_rng(0)
    made = []
    for _ in range(50):
        gold = draw.random(8) < 0.3
        made.append(JudgedUnits(draw.random(8) + 0.0, draw.integers(1, 50, 8), gold))
    better = [JudgedUnits(one.probabilities + 0.5 * one.gold, one.sizes, one.gold) for one in made]
    area = recall_curve(made).area
    assert recall_curve(made[::-1]).area == pytest.approx(area, abs=1e-12)
    assert recall_curve(better).area > area + 0.1
    # numbers that say nothing are near the diagonal
    assert area == pytest.approx(0.5, abs=0.06)
