"""The splitter on sentences that were marked by hand: no kind may get worse."""

import pytest

from benchmarks.marked_sentences import SETS, MarkedText, compare, inner, read
from contextpruner import split, split_code
from contextpruner.documents.format_detection import is_code

TEXTS = {name: read(folder) for name, folder in SETS.items()}

# boundaries that are found and those that are not there, measured; kinds that are not named are perfect
F1 = {
    "tuned": {
        "abbreviations": 0.96,
        "chinese": 0.97,
        "code": 0.96,
        "dialogue": 0.97,
        "german": 0.95,
        "japanese": 0.92,
        "quotes": 0.97,
        "thai": 0.82,
        "web": 0.94,
    },
    "dev": {
        "dialogue": 0.99,
        "informal": 0.96,
        "japanese": 0.97,
        "law": 0.99,
        "markdown": 0.93,
        "news": 0.99,
        "russian": 0.98,
        "wiki": 0.98,
    },
}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in F1 for kind in TEXTS[name]])
def test_units_end_where_they_were_marked(name: str, kind: str) -> None:
    assert compare(lambda text: [unit.end for unit in split(text)], TEXTS[name][kind]).f1 >= F1[name].get(kind, 1)


def test_the_measure_by_hand() -> None:
    texts = [MarkedText("A b. C d. E", (5, 10))]
    assert compare(lambda text: [4, 7], texts) == (2, 2, 1)
    assert compare(lambda text: [4, 7], texts).f1 == 0.5
    # white space behind a boundary does not count, nor do the edges
    assert inner(" a. b ", [0, 1, 3, 4, 6]) == {2}


def test_all_kinds_are_read_and_marks_are_gone() -> None:
    assert all(F1[name].keys() < TEXTS[name].keys() for name in F1)
    every = [item for kinds in TEXTS.values() for texts in kinds.values() for item in texts]
    assert all(0 < end <= len(text) for text, ends in every for end in ends if end)
    assert not any("‖" in text or "%%" in text for text, _ in every)
    assert read(SETS["tuned"] / "none") == {}


@pytest.mark.parametrize(
    "lines",
    [
        ["A menu\n", "Soup\n", "Bread with butter and a little salt"],
        ["all lower case\n", "one post a line\n", "no stops"],
        ["This line is long enough that the next word would not fit on\nit at all. ", "So it was wrapped."],
        ["Dear Ann,\nthank you for the letter. ", "I read it."],
    ],
)
def test_a_break_ends_something_where_the_next_word_would_have_fitted(lines: list[str]) -> None:
    text = "".join(lines)
    assert [text[unit.start : unit.end] for unit in split(text)] == lines


def test_source_code_is_told_from_prose() -> None:
    python = "import os\n\ndef f(x):\n    # why\n    return os.path.join(x)\n"
    assert is_code(python)
    assert split(python) == split_code(python)
    assert is_code('{\n  "a": 1,\n  "b": 2\n}\n')
    for prose in (
        "He said (so he did) that\nit was = to none.\n",
        "one line;",
        "# A\n\nText (see b).\n",
        "",
        "```\n" + python,
    ):
        assert not is_code(prose)


def test_a_long_line_costs_nothing() -> None:
    assert not is_code("f(" * 100_000 + "\n" + "a." * 100_000)
