"""The threshold of a target recall: worked by hand, held on new questions, refused where it cannot be promised."""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest

from contextpruner import Calibration
from contextpruner.decisions.calibration import MOST, Judged, calibrate_thresholds
from contextpruner.decisions.closure import DEPENDENCIES
from contextpruner.decisions.labeling_setup import LabelingSetup


def of_gold(rows: Iterable[np.ndarray]) -> Calibration:
    """A calibration of questions whose gold units have these probabilities, and one unit of 0 that is none."""
    judged = [
        Judged(
            np.append(row, 0).astype(np.float32), np.full(len(row) + 1, 10), np.append(np.ones(len(row), bool), False)
        )
        for row in rows
    ]
    return calibrate_thresholds(LabelingSetup("x"), DEPENDENCIES, judged)


def test_thresholds_by_hand() -> None:
    # losses: nothing below 0.25; a quarter of all at 0.5 (half of the first of two); 0.5 at 0.75; 0.75 at 1
    made = of_gold([np.array([0.25, 0.75]), np.array([]), np.array([0.5, 1.0])])
    assert made.n_questions == 2
    assert made.thresholds == (0.25, 0.5, 0.75, 1.0)
    assert made.losses == (0, 0.25, 0.5, 0.75)
    # (2 * loss + 1) / 3 <= 1 - recall
    assert made.threshold(0.66) == 0.25
    assert made.threshold(1 - 1.5 / 3) == 0.5
    assert made.threshold(1 - 1.4 / 3) == 0.25
    assert made.threshold(0.17) == 0.75
    with pytest.raises(
        ValueError, match=r"a recall of 0.9 wants a calibration of at least 9 questions, got 2, .* 0.667"
    ):
        made.threshold(0.9)


def test_nine_questions_are_enough_for_nine_tenths() -> None:
    rows = [np.array([value]) for value in np.linspace(0.1, 0.9, 9)]
    assert of_gold(rows).threshold(0.9) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="at least 9 questions, got 8"):
        of_gold(rows[1:]).threshold(0.9)


def test_equal_probabilities_are_kept_or_lost_together() -> None:
    made = of_gold([np.array([0.5, 0.5, 0.5])] * 30)
    assert made.thresholds == (0.5,)
    assert made.threshold(0.9) == 0.5


def test_the_promise_holds_on_new_questions() -> None:
    """Over many draws the mean recall reaches the target and is not far above it."""
    draw = np.random.default_rng(0)
    recalls = []
    for _ in range(400):
        questions = [draw.beta(4, 2, draw.integers(1, 4)).astype(np.float32) for _ in range(80)]
        threshold = of_gold(questions[:60]).threshold(0.8)
        recalls += [float((row >= np.float32(threshold)).mean()) for row in questions[60:]]
    # 8,000 questions in 400 sets: the standard error is about 0.004
    assert 0.79 < np.mean(recalls) < 0.84


def test_many_gold_units_are_stored_as_some() -> None:
    values = np.random.default_rng(1).random(5000).astype(np.float32)
    made = of_gold([np.array([value]) for value in values])
    assert len(made.thresholds) == MOST
    exact = np.sort(values)[int(5001 * 0.1 - 1)]
    # the stored one below it: a little lower, never higher
    assert exact - 0.002 < made.threshold(0.9) <= exact


def test_the_threshold_is_that_of_conformal_risk_control_in_exact_fractions() -> None:
    """n / (n + 1) * mean loss + 1 / (n + 1) <= 1 - recall, tried for every threshold there is."""
    draw = np.random.default_rng(3)
    for _ in range(40):
        n = int(draw.integers(1, 30))
        rows = [draw.integers(1, 9, draw.integers(1, 5)).astype(np.float32) / 8 for _ in range(n)]
        made = of_gold(rows)
        for recall in (Fraction(1, 2), Fraction(2, 3), Fraction(4, 5), Fraction(9, 10), Fraction(19, 20)):
            fitting = []
            for threshold in sorted({float(value) for row in rows for value in row}):
                lost = sum(Fraction(int((row < threshold).sum()), len(row)) for row in rows)
                if Fraction(n, n + 1) * (lost / n) + Fraction(1, n + 1) <= 1 - recall:
                    fitting.append(threshold)
            if fitting:
                assert made.threshold(float(recall)) == fitting[-1]
            else:
                with pytest.raises(ValueError, match="wants a calibration of at least"):
                    made.threshold(float(recall))


def test_recall_kept_share_and_coverage_by_hand() -> None:
    # of 100 characters 10 and 20 are gold, and 10 of the second question's 50
    first = Judged(np.float32([0.5, 0.25, 0.75, 0.1]), np.array([10, 20, 30, 40]), np.array([True, True, False, False]))
    second = Judged(np.float32([0.75, 0.5]), np.array([10, 40]), np.array([True, False]))
    made = calibrate_thresholds(LabelingSetup("x"), DEPENDENCIES, [first, second])
    assert made.gold == pytest.approx((0.3 + 0.2) / 2)
    assert made.thresholds == (0.25, 0.5, 0.75)
    assert made.losses == pytest.approx((0, 0.25, 0.5))
    assert made.kept == pytest.approx((0.8, 0.7, 0.25))
    assert made.coverage == (1, 0.5, 0.5)
    promise = made.promise(0.5)
    assert (promise.threshold, promise.recall, promise.coverage) == (0.5, 0.75, 0.5)
    assert promise.kept == pytest.approx(0.7)


def test_what_keeps_nearly_all_is_refused_with_a_way_out() -> None:
    # one in five gold units is found by no word: to keep it is to keep all
    rows = [(0.0 if number % 5 == 0 else 0.5) for number in range(100)]
    sizes, gold = np.array([10, 90]), np.array([True, False])
    judged = [Judged(np.float32([value, 0.2]), sizes, gold) for value in rows]
    made = calibrate_thresholds(LabelingSetup("x"), DEPENDENCIES, judged)
    assert made.promise(0.75).kept == pytest.approx(0.08)
    assert made.highest_recall == 0.792
    with pytest.raises(
        ValueError, match=r"recall of 0.95 would keep 100.0 % of the text: want a recall of at most 0.792"
    ):
        made.threshold(0.95)
    made.threshold(0.792)
    blind = [Judged(np.float32([0.5, 0.5]), sizes, gold)] * 100
    made = calibrate_thresholds(LabelingSetup("x"), DEPENDENCIES, blind)
    assert made.highest_recall == 0
    with pytest.raises(ValueError, match="of the text: want another labeler or model"):
        made.threshold(0.5)
    # where everything is gold, to keep it is right
    whole = [Judged(np.float32([0.5, 0.5]), sizes, np.array([True, True]))] * 100
    assert calibrate_thresholds(LabelingSetup("x"), DEPENDENCIES, whole).threshold(0.9) == 0.5
