"""Coverage of promised recalls, intervals, and questions paired with their other forms."""

from __future__ import annotations

import numpy as np
import pytest

from contextpruner.documents.document import Document
from contextpruner.training.evaluation.bootstrap import interval, resampled_means
from contextpruner.training.evaluation.coverage import coverage, split_by_group
from contextpruner.training.evaluation.curves import Cut
from contextpruner.training.evaluation.evaluation import evaluate_labeler
from contextpruner.training.evaluation.question_pairs import AskedForm, asked_as, form_report, paired
from contextpruner.training.examples.example import TrainingExample
from tests.contextpruner.training.toy_questions import Toy


def test_halves_share_no_document() -> None:
    toys = [Toy([0.5, 0.1], [1, 0], id=str(n), group=f"g{n // 3}").judged() for n in range(30)]
    first, second = split_by_group(toys)
    assert (len(first), len(second)) == (15, 15)
    groups = [{one.question.example.group for one in half} for half in (first, second)]
    assert not groups[0] & groups[1]
    assert [one.question.example.id for one in split_by_group(toys[::-1])[0]] != [str(n) for n in range(15)]


def test_coverage_by_hand() -> None:
    # gold at .9 but for one question in eight, where it is at .1; what answers nothing is at .5 and .05
    best = [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1] * 50
    toys = [Toy([best[n], 0.5, 0.05], [1, 0, 0], id=str(n), group=str(n)).judged() for n in range(400)]
    rows = coverage("x", "a", toys)
    assert [(row.target, row.n_calibrated, row.n_measured) for row in rows] == [
        (target, 200, 200) for target in (0.8, 0.9, 0.95)
    ]
    assert [row.threshold for row in rows] == pytest.approx([0.9, 0.1, 0.1])
    first, second = ([one.closed.kept_from[0] > 0.5 for one in half] for half in split_by_group(toys))
    assert rows[0].recall == pytest.approx(np.mean(second))
    # one unit of three, but none where gold is at .1
    assert rows[0].kept == pytest.approx(np.mean(second) / 3)
    # at .1 what is at .5 stays, too
    assert (rows[1].recall, rows[1].low, rows[1].kept) == (1, 1, pytest.approx(2 / 3))
    assert rows[0].low is not None
    assert rows[0].high is not None
    # both halves add to what the difference to the target may be by chance
    error = ((np.var(first) + np.var(second)) / 200) ** 0.5
    assert (rows[0].low + rows[0].high) / 2 == pytest.approx(np.mean(second), abs=0.01)
    assert rows[0].high - rows[0].low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_a_promise_that_cannot_be_given_is_refused_with_its_reason() -> None:
    toys = [Toy([0.9, 0.5], [1, 0], id=str(n), group=str(n)).judged() for n in range(20)]
    (_, row, _) = coverage("x", "a", toys)
    assert (row.threshold, row.recall, row.low) == (pytest.approx(0.9), 1, 1)
    assert "wants a calibration of at least 19 questions, got 10" in coverage("x", "a", toys)[2].refused
    assert coverage("x", "a", toys[:1]) == []


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        # twenty documents, of which all five questions say the same
        values = np.repeat(draw.random(20) < 0.5, 5).astype(float)
        low, high = interval(resampled_means(values.tolist(), [str(n // 5) for n in range(100)]))
        inside += low <= 0.5 <= high
    # were questions drawn by themselves, it would be about 60 %
    assert 0.88 <= inside / 200 <= 0.98
    assert interval(resampled_means([0.25] * 9, [*"aaabbbccc"])) == (0.25, 0.25)
    one_group = resampled_means([0.0, 1.0] * 50, ["a"] * 100)
    assert one_group.std() == pytest.approx(0.05, abs=0.005)


def test_forms_are_made_and_change_nothing_but_the_question() -> None:
    plain = TrainingExample(
        "a/1", "Who built the dome of Florence?", (Document("x"),), ((),), "en", "a", "g", form="blind"
    )
    (asked,) = asked_as(AskedForm.POLITE, [plain])
    assert (asked.id, asked.form) == ("a/1/polite", "polite blind")
    assert plain.question in asked.question or plain.question[1:] in asked.question
    assert asked.documents == plain.documents
    assert [*asked_as(AskedForm.POLITE, [plain])] == [asked]
    assert next(asked_as(AskedForm.KEYWORDS, [plain])).question == "built dome Florence"
    # no preamble is known in that language
    unknown = TrainingExample("1", "Who?", (Document("x"),), ((),), "xx", "a", "g")
    assert [*asked_as(AskedForm.POLITE, [unknown])] == []


def test_pairs_by_hand_and_they_count_nowhere_else() -> None:
    toys = [
        Toy([0.9, 0.1], [1, 0], id="1"),
        Toy([0.2, 0.8], [1, 0], id="1/polite", form="polite"),
        Toy([0.9, 0.7], [1, 1], id="2", group="h"),
        Toy([0.9, 0.1], [1, 1], id="2/polite", form="polite", group="h"),
        # without its plain one, or said to be something else
        Toy([0.9, 0.1], [1, 0], id="3/polite", form="polite"),
        Toy([0.9, 0.1], [1, 0], id="2/keywords", form="seen"),
        Toy([0.9, 0.1], [1, 0], id="1/misspelt", form="misspelt", source="b"),
    ]
    judged = [one.judged() for one in toys]
    pairs = paired(judged)
    assert [*pairs] == [AskedForm.POLITE]
    assert [(one.question.example.id, two.question.example.id) for one, two in pairs[AskedForm.POLITE]] == [
        ("1", "1/polite"),
        ("2", "2/polite"),
    ]
    row = form_report("x", "polite", pairs[AskedForm.POLITE], Cut(0.5))
    assert row is not None
    assert (row.n, row.plain, row.recall, row.difference) == (2, 1, 0.25, -0.75)
    assert (row.low, row.high) == (-1, -0.5)
    _, found = evaluate_labeler("x", judged, 0.5)
    assert found.sets[0].n == 5
    assert [(row.form, row.n) for row in found.forms] == [("polite", 2)]
