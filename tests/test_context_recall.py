"""The benchmark of recall against compression, on questions small enough to count by hand."""

import json
from pathlib import Path

import pytest

from benchmarks.context_recall import BUDGETS, asked, measured
from benchmarks.context_sets import read
from contextpruner.labelers.bm25 import Bm25
from contextpruner.labelers.lead import Lead

# sentences of 20 characters each, the white space behind them included
FIRST, DOME, RAIN, BREAD = (f"{words:<18}. " for words in ("Florence is old", "Filippo the dome", "It rains", "Bread"))

XQUAD = {"question": "Whose dome?", "context": FIRST + DOME + RAIN + BREAD, "answer": "Filippo", "answer_start": 20}
SELQA = {"question": "Whose dome?", "candidates": [FIRST.strip(), DOME.strip()], "answers": [1]}
HOTPOTQA = {
    "question": "Whose dome?",
    "context": {"title": ["A", "B"], "sentences": [[FIRST, RAIN], [BREAD, DOME]]},
    "supporting_facts": {"title": ["A", "B"], "sent_id": [0, 1]},
}


def examples(folder: Path, name: str, *rows: dict) -> list:
    path = folder / name / "set.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return [asked(example) for example in read(path)]


@pytest.mark.parametrize(
    ("name", "row", "gold"),
    [
        ("xquad", XQUAD, [False, True, False, False]),
        ("selqa", SELQA, [False, True]),
        ("hotpotqa", HOTPOTQA, [True, False, False, True]),
    ],
)
def test_gold_is_where_the_sets_say(name: str, row: dict, gold: list[bool], tmp_path: Path) -> None:
    without = {"xquad": XQUAD, "selqa": SELQA | {"answers": []}, "hotpotqa": HOTPOTQA}[name]
    items = examples(tmp_path, name, row, without)
    # a question that nothing answers is left out
    assert len(items) == (1 if name == "selqa" else 2)
    assert items[0].gold.tolist() == gold
    assert items[0].question == "Whose dome?"


def test_recall_and_what_is_kept(tmp_path: Path) -> None:
    items = examples(tmp_path, "hotpotqa", HOTPOTQA)
    (closed, loose), thresholds = measured("tiny", "lead", Lead(), items)
    # the first sentences of both documents come first; at least one of four is kept, two at half of the characters
    assert loose.recall == dict(zip(map(str, BUDGETS), [0.5, 0.5, 0.5, 0.5], strict=True))
    assert loose.kept == dict(zip(map(str, BUDGETS), [0.25, 0.25, 0.25, 0.5], strict=True))
    assert set(loose.all_gold.values()) == {0}
    assert (loose.closure, closed.closure, loose.n, thresholds) == (False, True, 1, [])


def test_a_labeler_with_a_threshold_is_measured_at_it(tmp_path: Path) -> None:
    items = examples(tmp_path, "xquad", XQUAD)
    _, (row,) = measured("tiny", "bm25", Bm25(), items)
    assert (row.threshold, row.recall, row.all_gold, row.kept) == (Bm25().default_threshold, 1, 1, 0.25)


def test_what_a_kept_unit_leans_on_is_paid_for(tmp_path: Path) -> None:
    # the answer leans on the sentence before it
    text = FIRST + f"{'Its dome is high':<18}. " + RAIN + BREAD
    items = examples(tmp_path, "xquad", {**XQUAD, "context": text, "answer": "dome", "answer_start": 24})
    (closed, loose), _ = measured("tiny", "bm25", Bm25(), items)
    assert list(loose.kept.values()) == [0.25, 0.25, 0.25, 0.5]
    assert list(closed.kept.values()) == [0.5, 0.5, 0.5, 0.5]
    assert set(loose.recall.values()) == set(closed.recall.values()) == {1}
