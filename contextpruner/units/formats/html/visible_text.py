"""The visible text of an HTML source, and where in the source each of its characters stands.

White space is shown as one space but inside `pre`, entities as what they stand for, an image as the text in its
place, and behind the words of a link its target (`attributes`).
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from contextpruner.units.blocks import Block

# what is not shown as it stands in the source
ENTITY = r"&(?:#\d{1,7}(?!\d);?|#[xX][0-9a-fA-F]{1,6}(?![0-9a-fA-F]);?|[a-zA-Z][a-zA-Z0-9]{1,31};?)"
SPECIAL = re.compile(rf"[ \t\r\n\f]{{2,}}|{ENTITY}")
SPECIAL_IN_PRE = re.compile(ENTITY)
SPACES = str.maketrans("\t\r\n\f", "    ")


class SourceSpan(NamedTuple):
    """The characters [start, end) of the source that a piece of the text shows, one by one or all of them at once."""

    start: int
    end: int
    is_literal: bool = False


class Part(NamedTuple):
    """The characters [start, end) of the source, shown as they stand there or as `text`; an empty part nowhere."""

    start: int
    end: int
    text: str | None = None

    def shown(self, source: str) -> str:
        return source[self.start : self.end] if self.text is None else self.text


class VisibleText:
    """The visible text in blocks that partition it, and where it comes from."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.blocks: list[Block] = []
        self._chunks: list[str] = []
        self._at = 0
        # the places where pieces begin, and the source of each
        self._places: list[int] = []
        self._sources: list[SourceSpan] = []

    @property
    def text(self) -> str:
        return "".join(self._chunks)

    def source_span(self, start: int, end: int) -> tuple[int, int]:
        """From where to where the visible characters [start, end), at least one, stand in the source."""
        return self._source_at(start)[0], self._source_at(end - 1)[1]

    def next_boundary(self, at: int) -> int:
        """The first place from `at` on that is not inside what the source spells as one, say "&NotEqualTilde;"."""
        piece = bisect_right(self._places, at) - 1
        if at >= self._at or at == self._places[piece] or self._sources[piece].is_literal:
            return at
        return self._places[piece + 1]

    def add_block(self, cells: Sequence[Sequence[Sequence[Part]]], block: Block, *, is_pre: bool) -> None:
        """One block of the kind and level of `block`: cells of lines, of parts of the source."""
        start = self._at
        for number, cell in enumerate(cells):
            self._add_own(" | " if number else "")
            for place, line in enumerate(cell):
                self._add_own(" " if place else "")
                for part in line:
                    if part.text is None:
                        self._add_text(part.start, part.end, is_pre=is_pre)
                    elif part.start < part.end:
                        self._add(part.text, SourceSpan(part.start, part.end))
                    else:
                        self._add_own(part.text)
        self._add_own("\n")
        self.blocks.append(Block(start, self._at, block.kind, block.level))

    def _add_text(self, start: int, end: int, *, is_pre: bool) -> None:
        for match in (SPECIAL_IN_PRE if is_pre else SPECIAL).finditer(self.source, start, end):
            found, shown = match[0], " "
            if found[0] == "&":
                # a number that stands for no character is shown as browsers show one
                shown = html.unescape(found) or "\ufffd"
                if shown == found:
                    continue
            self._add_literal(start, match.start(), is_pre=is_pre)
            # what follows a short name ("&notit;") stands there letter for letter
            tail = _common_end(shown[1:], found)
            start = match.end() - tail
            if found[0] == "&" or not self._is_behind_space():
                self._add(shown[: len(shown) - tail], SourceSpan(match.start(), start))
        self._add_literal(start, end, is_pre=is_pre)

    def _add_literal(self, start: int, end: int, *, is_pre: bool) -> None:
        if not is_pre and start < end and self.source[start] in " \t\r\n\f" and self._is_behind_space():
            start += 1
        if start < end:
            text = self.source[start:end]
            self._add(text if is_pre else text.translate(SPACES), SourceSpan(start, end, is_literal=True))

    def _is_behind_space(self) -> bool:
        """Whether the last character is a space, with which white space in the next tag's text is one."""
        return bool(self._chunks) and self._chunks[-1].endswith(" ")

    def _add_own(self, text: str) -> None:
        """What is added stands nowhere, behind what was last."""
        if text:
            last = self._sources[-1].end
            self._add(text, SourceSpan(last, last))

    def _add(self, text: str, source: SourceSpan) -> None:
        self._places.append(self._at)
        self._sources.append(source)
        self._chunks.append(text)
        self._at += len(text)

    def _source_at(self, at: int) -> tuple[int, int]:
        piece = bisect_right(self._places, at) - 1
        start, end, is_literal = self._sources[piece]
        if not is_literal:
            return start, end
        start += at - self._places[piece]
        return start, start + 1


def _common_end(one: str, other: str) -> int:
    """How many of the last characters are the same in both."""
    count = 0
    while count < min(len(one), len(other)) and one[-1 - count] == other[-1 - count]:
        count += 1
    return count
