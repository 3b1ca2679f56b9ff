"""The report of a labeler on sets, worked by hand, and what a labeler says seen through it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from contextpruner.documents.document import Document
from contextpruner.labeler import build_labeler
from contextpruner.training.evaluation.evaluation import evaluate_labeler
from contextpruner.training.evaluation.judging import judged_questions
from contextpruner.training.evaluation.questions import cut_questions
from contextpruner.training.evaluation.ranking import ranking
from contextpruner.training.evaluation.report import QuestionSet, SetReport, report
from contextpruner.training.examples.example import TrainingExample
from tests.contextpruner.training.toy_questions import Toy


def toy(best: float, gold: list[int], **others: object) -> Toy:
    return Toy([best, best / 2, best / 4, best / 8], gold, **others)  # type: ignore[arg-type]


def row_of(toys: list[Toy], threshold: float | None = None) -> SetReport:
    return evaluate_labeler("x", [one.judged() for one in toys], threshold)[1].sets[0]


def test_left_empty_where_two_of_a_hundred_others_are() -> None:
    # a hundred answerable questions with best units .01, .02, ..., 1: at .03 two of them are empty
    others = [toy((number + 1) / 100, [1, 0, 0, 0]) for number in range(100)]
    none = [toy(best, [0, 0, 0, 0]) for best in (0.001, 0.0101, 0.0299, 0.03)]
    row = row_of([*others, *none])
    assert (row.n, row.n_without_gold) == (104, 4)
    assert row.empty == pytest.approx(0.75)
    assert row_of(others).empty is None


def test_seventy_per_cent_are_removed_between_two_points() -> None:
    # at .6 two units of eight are kept, at .4 three: 75 and 62.5 % removed
    row = row_of([toy(0.8, [1, 0, 0, 0]), toy(0.6, [0, 1, 0, 0]), ])  # fmt: skip
    assert row.at_own is not None
    assert row.at_own == row.at_global
    assert row.at_own.cut.threshold == pytest.approx(0.6)
    assert row.at_own.cut.below == pytest.approx(0.4)
    assert row.at_own.cut.share == pytest.approx(0.4)
    assert row.at_own.kept.removed == pytest.approx(0.7)
    assert (row.at_own.kept.recall, row.at_own.kept.all_gold) == (0.5, 0.5)


def test_few_numbers_are_no_reason_to_keep_nothing() -> None:
    # as lead says: 1 and 1/2 of documents of two units; half is removed at 1, nothing at 1/2
    row = row_of([Toy([1, 0.5], [1, 0]), Toy([1, 0.5], [0, 1])])
    assert row.at_own is not None
    assert row.at_own.cut.threshold is None
    assert row.at_own.cut.below == 1
    # half of the questions keep their first unit where 75 % are removed, three of five at 70 %
    assert row.at_own.cut.share == pytest.approx(0.6)
    assert row.at_own.kept.removed == pytest.approx(0.7)
    assert row.at_own.kept.recall == pytest.approx(0.3)


def test_a_threshold_that_is_given() -> None:
    toys = [toy(0.8, [1, 0, 0, 0]), toy(0.6, [0, 1, 0, 0], source="b")]
    judged, found = evaluate_labeler("x", [one.judged() for one in toys], 0.3)
    assert judged.cut is not None
    assert (judged.cut.threshold, judged.cut.share) == (0.3, 0)
    (all_, a, b) = found.sets
    assert [row.at_global and row.at_global.kept.removed for row in (all_, a, b)] == pytest.approx([0.5, 0.5, 0.5])
    assert [row.at_global and row.at_global.kept.recall for row in (all_, a, b)] == [1, 1, 1]
    assert a.at_own is not None
    assert a.at_own.kept.removed == pytest.approx(0.7)


def test_the_order_of_documents_and_ties_count_against() -> None:
    pairs = [([3.0, 1.0], [1, 0]), ([1.0, 1.0], [1, 0]), ([1.0, 2.0, 3.0], [1, 0, 0]), ([5.0], [1])]
    found = ranking([toy(0.5, [1, 0, 0, 0], scores=scores, right=right).judged() for scores, right in pairs])
    assert found is not None
    assert found.n == 3
    assert found.first == pytest.approx(1 / 3)
    assert found.mrr == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert found.ndcg == pytest.approx((1 + 1 / np.log2(3) + 1 / 2) / 3)
    assert ranking([toy(0.5, [1, 0, 0, 0], scores=[1.0], right=[1]).judged()]) is None
    # two right documents at places 2 and 4, and one at the eleventh
    two = toy(0.5, [1, 0, 0, 0], scores=[4, 3, 2, 1], right=[0, 1, 0, 1]).judged()
    found = ranking([two])
    assert found is not None
    assert found.ndcg == pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3)))
    late = ranking([toy(0.5, [1, 0, 0, 0], scores=[*range(11, 0, -1)], right=[0] * 10 + [1]).judged()])
    assert late is not None
    assert (late.ndcg, late.mrr) == (0, pytest.approx(1 / 11))


def test_sources_stand_apart_and_together_and_blind_questions_too() -> None:
    toys = [toy(0.5, [1, 0, 0, 0], source=source, form=form) for source, form in ("as", "bs", "ab")]
    toys = [dataclasses.replace(one, form={"s": "seen", "b": "polite blind"}[one.form]) for one in toys]
    _, found = evaluate_labeler("x", [one.judged() for one in toys], None)
    shown = [(row.kind, row.questions, row.n) for row in found.sets]
    asked = [("asked", "asked seen", 2), ("asked", "asked blind", 1)]
    assert shown == [("all", "all", 3), *asked, ("source", "a", 2), ("source", "b", 1)]
    assert [row.questions for row in evaluate_labeler("x", [toys[0].judged()], None)[1].sets] == ["a"]
    none = report("x", QuestionSet("source", "a", [toy(0.5, [0, 0, 0, 0]).judged()]), None)
    assert (none.at_own, none.at_global, none.area, none.empty, none.ranking) == (None,) * 5


def test_milliseconds_are_a_median_and_by_length() -> None:
    row = row_of([toy(0.5, [1, 0, 0, 0], milliseconds=took) for took in (1.0, 2.0, 9.0)])
    assert row.milliseconds == 2
    # 12 ms for 120 characters, and for 24 tokens
    assert row.milliseconds_of_1000_characters == pytest.approx(100)
    assert row.milliseconds_of_1000_tokens == pytest.approx(500)


def test_what_a_labeler_says() -> None:
    text = "Nobody came. Ana made the dome. It rained."
    documents = (Document("A boat is a boat. So it is."), Document(text, title="Domes"))
    start = text.index("Ana")
    example = TrainingExample("1", "Who made the dome?", documents, ((), ((start, start + 3),)), "en", "a", "g")
    done: list[None] = []
    (one,) = judged_questions(build_labeler("bm25"), cut_questions([example], len), lambda: done.append(None))
    assert len(done) == 1
    assert one.units.gold.tolist() == [False, False, False, True, False]
    assert one.probabilities.argmax() == 3
    assert one.best == one.probabilities[3]
    assert one.closed.kept_from[3] >= one.best
    found = ranking([one])
    assert found is not None
    assert found.first == 1
    assert one.milliseconds > 0
