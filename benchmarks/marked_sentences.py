"""Texts with their boundaries marked by hand, in three sets, and how well a splitter finds them.

tuned      tests/contextpruner/sentences: our rules were written and tuned on them
dev        tests/contextpruner/sentences_dev: marked without a look at our rules; then we looked at what the rules
           got wrong there, and mended what is general
held out   tests/contextpruner/sentences_heldout: marked like dev, and measured when the rules were done
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import ROOT

FOLDER = ROOT / "tests" / "contextpruner"
SETS = {
    "tuned": FOLDER / "sentences",
    "dev": FOLDER / "sentences_dev",
    "held out": FOLDER / "sentences_heldout",
}
MARK, END = "‖", "\n%%\n"

LANGUAGES = {
    "german": "de",
    "french": "fr",
    "spanish": "es",
    "chinese": "zh",
    "japanese": "ja",
    "thai": "th",
    "russian": "ru",
    "hindi": "hi",
    "arabic": "ar",
}

# where each sentence ends in a text; the last need not be given
Cut = Callable[[str], Iterable[int]]


class MarkedText(NamedTuple):
    """A text without its marks, and where they stood."""

    text: str
    ends: tuple[int, ...]


class Found(NamedTuple):
    """Boundaries found, marked, and both; their harmonic mean is `f1`."""

    found: int
    marked: int
    both: int

    @property
    def f1(self) -> float:
        return 2 * self.both / max(1, self.found + self.marked)


def read(folder: Path) -> dict[str, list[MarkedText]]:
    """The texts of each kind, which is the file's name; none where there is no such folder."""
    return {path.stem: _texts(path.read_text("utf-8")) for path in sorted(folder.glob("*.txt"))}


def compare(cut: Cut, texts: Sequence[MarkedText]) -> Found:
    """Boundaries inside `texts` that `cut` finds; white space behind a boundary does not count."""
    total = Found(0, 0, 0)
    for text, ends in texts:
        found, marked = inner(text, cut(text)), inner(text, ends)
        total = Found(total.found + len(found), total.marked + len(marked), total.both + len(found & marked))
    return total


def inner(text: str, ends: Iterable[int]) -> set[int]:
    """How many visible characters stand before each of `ends`, but for the two edges of the text."""
    before = [0]
    for character in text:
        before.append(before[-1] + (not character.isspace()))
    return {before[end] for end in ends} - {0, before[-1]}


def _texts(content: str) -> list[MarkedText]:
    texts = []
    for marked in content.rstrip("\n").split(END):
        parts = marked.split(MARK)
        ends, at = [], 0
        for part in parts[:-1]:
            at += len(part)
            ends.append(at)
        texts.append(MarkedText("".join(parts), tuple(ends)))
    return texts
