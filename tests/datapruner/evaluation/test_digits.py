"""The shape that the literature reports, on scikit-learn's digits at equal steps (`benchmarks/studies/digits.py`)."""

from __future__ import annotations

import pytest

from benchmarks.studies import digits
from benchmarks.studies.study import study_rows
from datapruner import evaluate
from datapruner.evaluation.paired_statistics import Difference
from datapruner.evaluation.result import Result


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return evaluate(digits.study(), tmp_path_factory.mktemp("digits") / "out")


def against_random(result: Result, way: str, ratio: float) -> Difference:
    row = next(row for row in result.rows if row.way == way and row.ratio == ratio)
    return next(item.difference for item in row.against if item.baseline == "random")


def test_hard_rows_lose_badly_at_a_tenth_and_do_not_lose_at_six_tenths(result: Result) -> None:
    assert against_random(result, "hard", 0.1).high < -0.1
    much = against_random(result, "hard", 0.6)
    assert much.high >= 0
    assert much.mean > -0.005


@pytest.mark.parametrize("way", ["coverage-centric", "calibrated"])
def test_selections_that_cover_hold_their_own_at_a_tenth(result: Result, way: str) -> None:
    """Not worse than a draw by more than the interval, and far from where hard rows are."""
    found = against_random(result, way, 0.1)
    assert found.high >= 0
    assert found.mean > against_random(result, "hard", 0.1).mean + 0.1


def test_what_is_recorded_is_what_was_found(result: Result) -> None:
    rows = study_rows("digits", result)
    assert [row.way for row in rows[:2]] == ["all", "random"]
    hard = next(row for row in rows if row.way == "hard" and row.keep_ratio == 0.1)
    assert hard.random_word == "worse"
    assert hard.against_random == against_random(result, "hard", 0.1).mean
    assert (rows[0].against_random, rows[0].random_word) == (None, "")
