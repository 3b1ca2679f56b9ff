"""The report of a labeler, worked by hand, and what a labeler says seen through it."""

from __future__ import annotations

import numpy as np
import pytest

from contextpruner.documents.document import Document
from contextpruner.labeler import build_labeler
from contextpruner.training.evaluation.curves import JudgedUnits
from contextpruner.training.evaluation.judging import JudgedQuestion, judged_questions
from contextpruner.training.evaluation.report import by_source, report
from contextpruner.training.examples.example import TrainingExample


def judged(best: float, gold: list[int], scores: list[float] = (), right: list[int] = (), source: str = "a") -> JudgedQuestion:  # fmt: skip # noqa: E501
    values = np.array([best, best / 2, best / 4, best / 8])
    units = JudgedUnits(values, np.array([10, 10, 10, 10]), np.array(gold) > 0)
    return JudgedQuestion(source, "en", "seen", units, np.array(scores), np.array(right) > 0, 2.0)


def test_left_empty_where_two_of_a_hundred_others_are() -> None:
    # a hundred answerable questions with best units .01, .02, ..., 1: at .03 two of them are empty
    others = [judged((number + 1) / 100, [1, 0, 0, 0]) for number in range(100)]
    none = [judged(best, [0, 0, 0, 0]) for best in (0.001, 0.0101, 0.0299, 0.03)]
    row = report("x", "a", [*others, *none])
    assert (row.n, row.n_without_gold) == (104, 4)
    assert row.empty == pytest.approx(0.75)
    assert report("x", "a", others).empty is None


def test_one_threshold_for_all_questions() -> None:
    # one question's gold is its best unit, the other's its second; two units of eight are kept
    row = report("x", "a", [judged(0.8, [1, 0, 0, 0]), judged(0.6, [0, 1, 0, 0])])
    assert row.threshold == pytest.approx(0.6)
    assert (row.recall, row.all_gold) == (0.5, 0.5)
    assert row.milliseconds == 2


def test_the_right_document_first_and_ties_count_against() -> None:
    pairs = [([3.0, 1.0], [1, 0]), ([1.0, 1.0], [1, 0]), ([1.0, 2.0, 3.0], [1, 0, 0]), ([5.0], [1])]
    row = report("x", "a", [judged(0.5, [1, 0, 0, 0], scores, right) for scores, right in pairs])
    assert row.first == pytest.approx(1 / 3)
    assert row.mrr == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert report("x", "a", [judged(0.5, [1, 0, 0, 0], [1.0], [1])]).first is None


def test_sources_stand_apart_and_together() -> None:
    rows = by_source("x", [judged(0.5, [1, 0, 0, 0], source=source) for source in "aba"])
    assert [(row.questions, row.n) for row in rows] == [("a", 2), ("b", 1), ("all", 3)]
    assert [row.questions for row in by_source("x", [judged(0.5, [1, 0, 0, 0])])] == ["a"]
    none = report("x", "a", [judged(0.5, [0, 0, 0, 0])])
    assert (none.recall, none.area, none.threshold, none.empty) == (None, None, None, None)


def test_what_a_labeler_says() -> None:
    text = "Nobody came. Ana made the dome. It rained."
    documents = (Document("A boat is a boat. So it is."), Document(text, title="Domes"))
    start = text.index("Ana")
    example = TrainingExample("1", "Who made the dome?", documents, ((), ((start, start + 3),)), "en", "a", "g")
    (one,) = judged_questions(build_labeler("bm25"), [example])
    assert one.units.gold.tolist() == [False, False, False, True, False]
    assert one.units.sizes.tolist() == [18, 9, 13, 19, 10]
    assert one.units.probabilities.argmax() == 3
    assert one.has_gold.tolist() == [False, True]
    assert one.first_rank == 1
    assert one.milliseconds > 0
