"""The contract of splitters by name: they say where sentences end, the blocks around them are cut alike for all.

Headings, list items, table rows, code and line breaks that end something are `blocks`' and `line_breaks`' business
whatever the splitter; only the prose between them is given to it, stretch by stretch. A file in `splitters/` holds one
frozen dataclass: one that writes `cut`, or, for a package that gives spans, `spans`, of which `partition` makes ends
that lose and repeat nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from contextpruner.units.blocks import MAX_CHARACTERS
from contextpruner.units.long_text import is_inside_character, skip_space
from contextpruner.units.split import split
from contextpruner.units.unit import Unit
from prunekernels import spec

SPLITTERS = "contextpruner.units.splitters"


@dataclass(frozen=True)
class SentenceSplitter(ABC):
    """Base of all splitters: frozen dataclasses with a default for every field."""

    max_characters: int = field(default=MAX_CHARACTERS, kw_only=True)

    def __call__(self, text: str) -> list[Unit]:
        """The units of `text`, which partition it; raises ValueError if it is no text, or holds lone surrogates."""
        return split(text, self.max_characters, self.cut)

    @abstractmethod
    def cut(self, text: str, start: int, end: int) -> list[int]:
        """Where the sentences of text[start:end], prose, end, in order; the last of them is `end`."""


class SpanSplitter(SentenceSplitter):
    """Base of splitters of other packages, which know where each sentence begins and ends."""

    def cut(self, text: str, start: int, end: int) -> list[int]:
        prose = text[start:end]
        # most packages fail on a text without a word
        spans = self.spans(prose) if not prose.isspace() else ()
        return [start + stop for stop in partition(type(self).__name__, prose, spans)]

    @abstractmethod
    def spans(self, text: str) -> Iterable[Sequence[int]]:
        """Start and end of each sentence of `text`, as the package gives them: in order, without overlap."""


def build_splitter(text: str) -> SentenceSplitter:
    """The splitter that `text` describes, say "nltk" or "spacy:model=xx_sent_ud_sm"."""
    return spec.build(SPLITTERS, text, SentenceSplitter)  # type: ignore[type-abstract]


def partition(name: str, text: str, spans: Iterable[Sequence[int]]) -> list[int]:
    """Ends of units that partition `text` and begin where `spans` do.

    White space, and whatever else stands between two spans, goes to the unit before it, or to the first one. Two
    spans that share a character as a reader sees it are one unit. Raises ValueError with the splitter's `name` where
    spans are out of order, overlap, or leave the text.
    """
    ends: list[int] = []
    at, is_first = 0, True
    for start, stop in spans:
        if not at <= start <= stop <= len(text):
            raise ValueError(
                f"{name}: want spans in order and without overlap, got [{start}, {stop}) "
                f"behind character {at} of {len(text)}"
            )
        begin = skip_space(text, start)
        if begin < stop:
            if not is_first and not is_inside_character(text, begin):
                ends.append(begin)
            is_first = False
        at = stop
    return [*ends, len(text)]
