"""What a text is written in is told from its head, and prose is never taken for anything else."""

import pytest

from contextpruner.documents.format_detection import detect_format, format_of_suffix
from tests.contextpruner.decisions.format_cases import CELLS, JSON, LATEX, TALK

PROSE = [
    "The cat sat on the mat, and Dr. Smith saw it. Nobody else was there.",
    "[1] Smith, A. The dome. 1999.\n[2] Jones, B. The roof. 2001.\n",
    "{Brackets} at the head of a text say nothing.\n",
    "Note: take care.\nWarning: it is hot.\nNote: and wet.\n",
    "Title: Domes\nAuthor: Ann Bauer\nYear: 1999\n\nA dome is a roof.\n",
    "Q: Who?\nA: He.\nQ: When?\nA: Now.\n",
    "Bread, butter, and jam\nTea, milk, and sugar\nSalt, oil, and flour\n",
    "He came, saw, won.\nShe went, sat, slept.\nThey ate, drank, sang.\n",
    "To: nobody in particular. From the depths of the sea.\n",
    "The command \\begin{x} opens an environment.\n",
    "3\n\n4\n",
    "",
    "\ufeff",
]


@pytest.mark.parametrize("text", PROSE)
def test_prose_is_a_text(text: str) -> None:
    assert detect_format(text) == "text"


@pytest.mark.parametrize(
    ("format_", "texts"),
    [
        ("json", [case.text for case in JSON.values() if case.format == "text"]),
        ("subtitles", [TALK[name].text for name in ("srt", "vtt", "srt without blank lines")]),
        ("chat", [TALK[name].text for name in ("a question in a chat", "two speakers", "ein Gespräch")]),
        ("mail", [TALK[name].text for name in ("mail", "a mailbox")]),
        ("csv", [case.text for case in CELLS.values() if case.format == "text"]),
        ("latex", [case.text for case in LATEX.values()]),
    ],
)
def test_a_format_is_told_from_its_head(format_: str, texts: list[str]) -> None:
    for text in texts:
        assert detect_format(text) == format_
        assert detect_format(f"\ufeff{text}") == format_
        # what was given is what it is
        assert detect_format(text, "markdown") == "markdown"


def test_suffixes() -> None:
    named = {"a.json": "json", "a.csv": "csv", "a.TSV": "csv", "a.eml": "mail", "a.srt": "subtitles", "a.tex": "latex"}
    assert {path: format_of_suffix(path) for path in named} == named


def test_brackets_in_brackets_and_long_heads_are_read() -> None:
    assert detect_format("[" * 200_000) == "text"
    assert detect_format('{"a": ' * 100_000) == "text"
    rows = "".join(f"name{n},{n},Rome\n" for n in range(5000))
    assert detect_format(rows) == "csv"
