"""Each form of a row, worked by hand: gold characters are those that answer."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from contextpruner.training.examples.row_forms import AskedRow, read_rows

FACTS = {"title": ["A", "B"], "sent_id": [1, 0]}
PARAGRAPHS = {"title": ["A", "B", "C"], "sentences": [["One.", " Two."], ["Three."], ["Four."]]}
ROWS = {
    "offsets": {"id": 7, "article": "Rome", "context": "A b. C d.", "question": "q", "answer": "d", "answer_start": 7},
    "sentences": {"question": "q", "article": "Rome", "candidates": ["A b.", "C d.", "E f."], "answers": [0, 2]},
    "passages": {"id": "m", "question": "q", "answer": "a", "candidates": ["T: A b.", "C d."], "answers": [0]},
    "supporting_facts": {"question": "q", "answer": "a", "supporting_facts": FACTS, "context": PARAGRAPHS},
    "meetings": {
        "article": "M1",
        "candidates": ["A: hi.", "B: ho.", "A: hm."],
        "questions": [{"question": "q", "answers": [1, 2]}, {"question": "r", "answers": [0]}],
    },
    "answers": {"question": "q", "documents": ["Bob came. Ann left.", "Ann stayed."], "answers": ["ann", "eve"]},
    "examples": {"id": "e", "question": "q", "documents": [{"text": "A b."}], "gold": [[[2, 3]]], "group": "g"},
}
GOLD = {
    "offsets": [["d"]],
    "sentences": [["A b.", "E f."]],
    "passages": [["A b."], []],
    "supporting_facts": [[" Two."], ["Three."], []],
    "meetings": [["B: ho.", "A: hm."]],
    "answers": [["Ann left."], ["Ann stayed."]],
    "examples": [["b"]],
}


def read(tmp_path: Path, form: str, *rows: dict) -> list[AskedRow]:
    path = tmp_path / "rows.jsonl.xz"
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return [*read_rows(path, form)]


def texts(row: AskedRow) -> list[list[str]]:
    pairs = zip(row.documents, row.gold, strict=True)
    return [[document.text[start:end] for start, end in spans] for document, spans in pairs]


@pytest.mark.parametrize("form", ROWS)
def test_gold_is_what_answers(form: str, tmp_path: Path) -> None:
    row = read(tmp_path, form, ROWS[form])[0]
    assert row.question == "q"
    assert texts(row) == GOLD[form]


def test_titles_are_names_and_no_numbers(tmp_path: Path) -> None:
    named, numbered = read(tmp_path, "offsets", ROWS["offsets"], {**ROWS["offsets"], "article": "13"})
    assert (named.documents[0].title, numbered.documents[0].title) == ("Rome", None)
    assert (named.article, numbered.article) == ("Rome", "13")


def test_marked_spans_come_before_answers_and_all_annotators_count(tmp_path: Path) -> None:
    marked = {**ROWS["offsets"], "gold": [[0, 4]]}
    several = {**ROWS["offsets"], "more": [[0, "A"]]}
    assert [texts(row) for row in read(tmp_path, "offsets", marked, several)] == [[["A b."]], [["A", "d"]]]


def test_no_answer_is_no_gold(tmp_path: Path) -> None:
    assert read(tmp_path, "offsets", {**ROWS["offsets"], "answer": "", "answer_start": -1})[0].gold == ((),)


def test_a_title_before_the_text_becomes_the_title(tmp_path: Path) -> None:
    row = {**ROWS["offsets"], "context": "Rom [SEP] A b. C d.", "answer_start": 17}
    of_title = {**row, "answer": "Rom", "answer_start": 0}
    rows = read(tmp_path, "offsets", row, of_title)
    # the second is answered by no sentence, and is not unanswerable either
    assert [(one.documents[0].title, texts(one)) for one in rows] == [("Rom", [["d"]])]


def test_meetings_give_a_question_each(tmp_path: Path) -> None:
    assert [row.id for row in read(tmp_path, "meetings", ROWS["meetings"])] == ["M1-0", "M1-1"]


def test_a_bad_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"rows.jsonl.xz:2: want a row of the form offsets: KeyError"):
        read(tmp_path, "offsets", ROWS["offsets"], {"id": 1})
