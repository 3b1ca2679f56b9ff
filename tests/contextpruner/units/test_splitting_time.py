"""The splitter takes linear time whatever it reads."""

import time

import pytest

from contextpruner import split
from tests.contextpruner.stopwatch import seconds

HARD = [
    "x",
    ".",
    ".x",
    ". ",
    '."',
    "a.",
    ".[1",
    "A. ",
    "a. b. c. ",
    "1. ",
    "\n",
    "\r\n",
    "|\n",
    "```\n",
    "- \n",
    "a\n=\n",
]
HARD += [" \u0301", "a\u0301", "\u0301", "ก ", "天", "。」", "((", "🇫🇷", "\u200d", "  ", "--|--\n", "#"]
# what has a rule of its own: glued words, smiling faces, speakers behind quotations, lower case, scripts without it
HARD += [
    "word.The ",
    ".A",
    "😀",
    "😀 ",
    "! 😀 ",
    ". ❤",
    ". :) ",
    '!" A said ',
    '"A!" B ',
    "“走。”说",
    "。“",
    "plain. a",
    "sat? a",
]
HARD += [
    "... a",
    "l'art. ",
    "Dipl.-Ing. ",
    "z. B. ",
    "न | ",
    "a | ",
    "डॉ. ",
    "क. ",
    "د. ",
    '؟" قال ',
    "|a|b|\n",
    "a\tb\tc\n",
]
HARD += ["- a. B c.\n", "~~~\nx\n", "---\n", "> a\n", "    a\n", "a,\n", "A\n", "def f(x):\n", "};\n", "f(\n", "a=b\n"]


@pytest.mark.parametrize("piece", HARD)
def test_time_is_linear_on_hard_texts(piece: str) -> None:
    # four times the text in about four times the time; a quadratic rule would take sixteen times as long
    assert seconds(split, piece * (60_000 // len(piece))) < 9 * seconds(split, piece * (15_000 // len(piece))) + 0.05


@pytest.mark.parametrize(
    "piece", [".", "(", '"', "”", "\n", "\r\n", "a", "!", "…", "。", "|", "`", "#", "-", " ", "\x00"]
)
def test_a_million_characters_of_one_kind(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    units = split(text)
    # a quadratic rule would take hours; a unit of every line takes two seconds on a busy machine
    assert time.process_time() - started < 15
    assert units[-1].end == len(text)


def test_speed_on_prose() -> None:
    text = "The cat sat on the mat, and Dr. Smith saw it at 5 p.m. in the garden. Nobody else was there. " * 5000
    started = time.process_time()
    split(text)
    # half a million characters at the promised two million a second, times eight for a busy machine
    assert time.process_time() - started < 8 * len(text) / 2e6
