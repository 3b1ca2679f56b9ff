"""Splitting and choosing take linear time on what was made to break it, in every format."""

from collections.abc import Callable

import numpy as np
import pytest

from contextpruner import Document, Policy, SplitDocument
from contextpruner.decisions.policy import choose
from contextpruner.documents.format_detection import FORMATS, Format, detect_format
from contextpruner.units.split import split_format
from tests.contextpruner.stopwatch import seconds

HARD: dict[Format, list[str]] = {
    "text": [
        "- \n",
        "# \n",
        "a:\n\n",
        "Q: \n",
        "**a**\n",
        "+-+\n",
        "| |\n",
        "> \n",
        "1. a\na) b\n",
        "a  b\n",
        "5.3 A\n",
        "1. A\nB c.\n",
        "1. A\n",
        "a | b\n",
        "A? ",
        "k: v\nl: w\n\n",
        "> a\n> > b?\n",
        "A\n2 b\n",
    ],
    "markdown": [
        "|a|\n|-|\n",
        "```\n",
        "- a:\n",
        "a:\n- b\n",
        "(i) a\n",
        "A\n\nB c.\n\n",
        "> > a\n",
        "It.\n",
        "|**a**| |\n",
        "**",
    ],
    "html": [
        "<caption>,</head>",
        "<ul><li>a",
        "<td rowspan=9>a",
        "<tr><td rowspan=9>a",
        "<dt>a",
        "<summary>a",
        "<b>a",
        "<tr><td colspan=2>a",
    ],
    "code": ["def f():\n", "  a\n", "{\n", "@a\n", "# a\n", "[a]\nb=1\n", "[a]\n#\n"],
    "json": ["[", "{", '{"a":', "[{},", "]", ",", '"a', '{"a":[{"b":1},', "1 "],
    "csv": ['"', "a,b\n", '"a\n', ",\n"],
    "mail": ["A: b\n", "From a@b 2024\n", "Subject: a\n", "\n> a\n", "From: a\n\n"],
    "chat": ["a: b\n", "a: b?\n", "<a> b\n", "12:00 ", "a b ", "A: \n"],
    "subtitles": ["1\n0:00:01,0 --> 0:00:02,0\na\n\n", "NOTE a\n\n", "1\n", "00:01.000 --> \n"],
    "latex": [
        "\\begin{itemize}\n",
        "\\item a\n",
        "\\a{b}",
        "\\[\n",
        "\\begin{figure}\n",
        "{",
        "\\section{a}\n",
        "a:\n\\item b\n",
    ],
}
PAIRS = [(format_, piece) for format_ in FORMATS for piece in HARD[format_]]


def is_linear(run: Callable[[str], object], piece: str, size: int = 6_000) -> bool:
    """Whether four times the text takes about four times as long; a quadratic rule takes sixteen times as long."""
    small, large = (seconds(run, piece * (n // len(piece) + 1)) for n in (size, 4 * size))
    return large < 9 * small + 0.05


@pytest.mark.parametrize(("format_", "piece"), PAIRS)
def test_splitting_and_choosing_take_linear_time(format_: Format, piece: str) -> None:
    def run(text: str) -> None:
        document = SplitDocument(Document(text, format=format_), tuple(split_format(text, format_)))
        values = [np.linspace(0, 1, len(document.units), dtype=np.float32)]
        for policy in (Policy(threshold=0.1), Policy(top_k=50), Policy(max_tokens=len(text) // 2)):
            choose(policy, [document], values, len)

    assert is_linear(run, piece)


@pytest.mark.parametrize("piece", sorted({piece for pieces in HARD.values() for piece in pieces}))
def test_telling_a_format_takes_linear_time(piece: str) -> None:
    assert is_linear(detect_format, piece, 20_000)
    assert is_linear(lambda text: detect_format("A: b\nB: c\nA: d\n" + text), piece, 20_000)


def test_a_table_of_four_thousand_captions() -> None:
    page = f"<table>{'<caption>a</caption><tr><td>b' * 4000}</table>"
    units = split_format(page, "html")
    assert max(len(unit.relations) for unit in units) <= 3
    assert is_linear(lambda text: split_format(f"<table>{text}", "html"), "<caption>a</caption><tr><td>b")
