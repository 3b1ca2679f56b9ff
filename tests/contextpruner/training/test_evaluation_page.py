"""The page of an evaluation: whole, self-contained, and nothing of a file or a person is obeyed."""

from __future__ import annotations

import json
import re

import numpy as np

from contextpruner.training.evaluation.curves import Cut
from contextpruner.training.evaluation.evaluation import Evaluation, evaluate_labeler
from contextpruner.training.evaluation.page.page import page
from contextpruner.training.evaluation.reader import Difference, ReaderReport
from tests.contextpruner.training.toy_questions import Toy
from tests.datapruner.output.pages import check_page

EVIL = "</h3><script>x</script>\x1b[31m\u202e"


def evaluation(labelers: list[str], sources: list[str], n: int = 60) -> Evaluation:
    draw = np.random.default_rng(0)
    found = Evaluation([], [], [], [])
    for labeler in labelers:
        toys = [
            Toy(draw.random(4).tolist(), [at % 5 > 0, 0, 0, 0], id=f"{at}", source=source, group=str(at // 2),
                form="blind" if source == sources[0] else "seen", scores=[2, 1], right=[1, 0])
            for source in sources for at in range(n)
        ]  # fmt: skip
        toys += [Toy([0.9, 0.1], [1, 0], id="1/polite", source=sources[0], form="polite")]
        found += evaluate_labeler(labeler, [one.judged() for one in toys], None)[1]
    row = ReaderReport(
        labelers[0], "all", 5, 2, -1.0, -1.25, -2.0, -3.0, Difference(-0.25, -0.5, 0.0), Difference(1, 0, 2)
    )
    return found + Evaluation([], [], [], [], [row])


def test_the_page_is_whole_and_says_what_was_found() -> None:
    found = evaluation(["bm25", "lead"], ["one", "two"])
    shown = check_page(page(found, 120, given=False))
    for words in ("What is kept for 120 questions", "Where 70 % of the characters are removed", "asked blind",
                  "60 questions, 12 without an answer", "-0.250 (-0.500 to +0.000)", "2 more questions were too long",
                  "Asked in another form", "Is a promised recall kept?", "What the numbers are"):  # fmt: skip
        assert words in shown.text
    recall = next(row for row in found.sets if row.labeler == "lead" and row.questions == "two").at_own
    assert recall is not None
    assert f"{100 * recall.kept.recall:.1f}" in shown.text
    # a panel for all, both ways to ask and each source, with a line for each labeler, and a legend
    assert sum(tag == "svg" for tag, _ in shown.tags) == 5 + 2
    assert sum(tag == "path" for tag, _ in shown.tags) == 2 * 5 + 2
    marks = [attributes for tag, attributes in shown.tags if tag == "line" and attributes.get("class") == "mark"]
    assert {mark["x1"] for mark in marks} == {"70"}
    assert "Under the thresholds that were given" in page(found, 120, given=True)


def test_lines_are_the_curves() -> None:
    found = evaluation(["bm25"], ["one"], 20)
    points = found.curves[0]
    (way,) = re.findall(r'<path class="l0" d="M([^"]*)" vector', page(found, 60, given=False))
    pairs = [tuple(map(float, pair.split())) for pair in way.split("L")]
    assert pairs[0] == (100, 100)
    np.testing.assert_allclose([x for x, _ in pairs[1:]], 100 * np.array(points.removed), atol=0.006)
    np.testing.assert_allclose([y for _, y in pairs[1:]], 100 - 100 * np.array(points.recall), atol=0.006)


def test_names_from_elsewhere_are_shown_and_not_obeyed() -> None:
    text = page(evaluation([f"bm25{EVIL}", "lead"], [f"s{number}{EVIL}" for number in range(8)], 5), 1, given=False)
    check_page(text)
    assert "<script" not in text
    assert "s7&lt;/h3&gt;" in text


def test_without_gold_there_is_a_page_too() -> None:
    none = evaluate_labeler("x", [Toy([0.5, 0.2], [0, 0]).judged()], None)[1]
    assert "What is kept for 1 questions" in check_page(page(none, 1, given=False)).text


def test_json_has_all_of_it() -> None:
    found = evaluation(["bm25"], ["one", "two"], 20)
    made = json.loads(found.to_json())
    assert [*made] == ["removed", "sets", "curves", "coverage", "forms", "reader"]
    assert [row["questions"] for row in made["sets"]] == ["all", "asked seen", "asked blind", "one", "two"]
    at = made["sets"][0]["at_global"]
    assert at["kept"]["removed"] == 0.7
    assert at["cut"].keys() == Cut(None).__dict__.keys()
    assert len(made["curves"][0]["recall"]) <= 101
    assert made["reader"][0]["pruned_to_full"] == {"mean": -0.25, "low": -0.5, "high": 0.0}
