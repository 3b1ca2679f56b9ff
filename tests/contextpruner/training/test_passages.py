"""Whatever form a document is given, its gold is the same text."""

from __future__ import annotations

import random

import pytest

from contextpruner.documents.document import Document
from contextpruner.training.examples.passages import as_list, as_sections, as_table, cut_passage, part_of
from contextpruner.training.examples.question_forms import keywords, misspelt, polite
from contextpruner.units.split import split

TEXT = (
    "The first fact is a. The second | fact is b.\nThe third fact is c. A fourth one is d.\n\nA fifth, at last, is e."
)
DOCUMENT = Document(TEXT, title="Facts")
ANSWERS = ("a", "second | fact is b.", "d. ", "e")


def gold(*answers: str) -> tuple[tuple[int, int], ...]:
    return tuple((TEXT.index(f" {answer}") + 1, TEXT.index(f" {answer}") + 1 + len(answer)) for answer in answers)


@pytest.mark.parametrize("form", [as_list, as_table])
@pytest.mark.parametrize("answer", ["first", "third", "fifth"])
def test_structure_keeps_gold(form, answer: str) -> None:
    document, spans = form(DOCUMENT, gold(answer))
    assert [document.text[start:end] for start, end in spans] == [answer]
    # every sentence is a line and a unit of its own
    assert len({unit.kind for unit in split(document.text) if "fact" in document.text[unit.start : unit.end]}) <= 2
    assert document.text.count("\n") >= 5


def test_a_bar_in_a_cell_is_no_border() -> None:
    document, spans = as_table(DOCUMENT, gold("second | fact is b."))
    assert [document.text[start:end] for start, end in spans] == ["second / fact is b."]
    assert all(line.count("|") == 3 for line in document.text.splitlines())


def test_sections_keep_gold_of_each() -> None:
    other = Document("Nothing here.")
    document, spans = as_sections([other, DOCUMENT], [(), gold("first", "fifth")])
    assert [document.text[start:end] for start, end in spans] == ["first", "fifth"]
    assert document.text.startswith("## 1\n\nNothing here.\n\n## Facts\n\n")


def test_white_space_at_the_end_is_no_gold() -> None:
    document, spans = as_sections([Document("A fact. \n")], [((2, 9),)])
    assert document.text == "## 1\n\nA fact."
    assert spans[-1][1] == len(document.text)
    assert [document.text[start:end] for start, end in spans] == ["fact."]


def test_passages_hold_a_gold_sentence_and_one_to_ten_units() -> None:
    counts = set()
    for seed in range(60):
        document, spans = cut_passage(DOCUMENT, gold("fourth"), random.Random(seed))
        assert [document.text[start:end] for start, end in spans] == ["fourth"]
        assert document.text in TEXT
        assert document.title == "Facts"
        counts.add(len(split(document.text)))
    assert counts == {1, 2, 3, 4, 5}


def test_a_part_cuts_gold_to_itself() -> None:
    start = TEXT.index("The second")
    document, spans = part_of(DOCUMENT, ((start - 5, start + 3),), start - 1, start + 12)
    assert document.text == "The second |"
    assert spans == ((0, 3),)


def test_other_ways_to_ask() -> None:
    question = "Who was the Designer of the great dome in 1420?"
    assert keywords(question) == "Designer great dome 1420"
    assert keywords("Who is it?") == "Who is it?"
    assert question in polite(question, "de", random.Random(1))
    assert polite(question, "xx", random.Random(1)) == question
    wrong = [misspelt(question, random.Random(seed)) for seed in range(20)]
    assert all(abs(len(one) - len(question)) <= 2 and one != question for one in wrong if one != question)
    assert sum(one != question for one in wrong) >= 18
    # two letters that are the same may change places; scripts without spaces have no such words
    assert misspelt("誰が大聖堂の円蓋を設計しましたか", random.Random(1)) == "誰が大聖堂の円蓋を設計しましたか"
