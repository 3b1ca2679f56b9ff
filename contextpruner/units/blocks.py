"""Blocks of a text, and the blocks cut into units that partition it, in linear time and without data files.

A reader of a format (`formats`) says where headings, list items, table rows, fenced code and paragraphs stand; here
they become sentences inside a paragraph and inside a long list item (`line_breaks`, then `sentences` or a splitter of
another name), lines inside code (`code_lines`); then whatever is still too long is cut at white space (`long_text`).
Units are contiguous, never empty, and cover the text, so that any choice of them is verbatim.

White space belongs to the unit before it, and at the head of a text to the first unit; only the indentation
of a line that begins a block stays with its line. A unit has at most `max_characters` characters besides
that white space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from contextpruner.units.code_lines import code_lines
from contextpruner.units.line_breaks import line_ends
from contextpruner.units.long_text import cut_long
from contextpruner.units.sentences.boundaries import sentence_ends
from contextpruner.units.unit import Kind, Unit

MAX_CHARACTERS = 1200

# a list item of this length is read as a whole; a longer one is cut into its sentences
LIST_ITEM_CHARACTERS = 300

BlockKind = Literal["prose"] | Kind

# where the sentences of text[start:end] end, in order; the last of them is end
SentenceEnds = Callable[[str, int, int], Sequence[int]]


class Block(NamedTuple):
    """The characters [start, end) of a text, whole lines.

    `level` is 1 (the highest) to 6 for a heading, 1 for the row at the head of a table, 0 for anything else.
    """

    start: int
    end: int
    kind: BlockKind
    level: int = 0


def split_blocks(
    text: str, found: Sequence[Block], max_characters: int = MAX_CHARACTERS, cut: SentenceEnds = sentence_ends
) -> list[Unit]:
    """Cut the blocks of `text`, which partition it, into units."""
    builder = _Builder(text, max_characters, cut)
    for block in found:
        builder.read(block)
    return builder.units


class _Builder:
    """Cuts block after block and remembers what later units hang on: each a stack or a single index."""

    def __init__(self, text: str, max_characters: int, cut: SentenceEnds) -> None:
        if max_characters < 1:
            raise ValueError(f"want max_characters of at least 1, got {max_characters}")
        self.text = text
        self.max_characters = max_characters
        self.cut = cut
        self.units: list[Unit] = []
        # levels and indices of the headings that the next unit stands under
        self.path: list[tuple[int, int]] = []
        self.fence: int | None = None
        # the first row of the table that is being read, or the row above its line of dashes
        self.table: int | None = None

    def read(self, block: Block) -> None:
        if block.kind == "heading":
            self._heading(block)
        elif block.kind == "table_row":
            self._row(block)
        elif block.kind == "fence":
            here = len(self.units)
            self._add(block.start, block.end, "fence", self.fence)
            self.fence = here if self.fence is None else None
        elif block.kind == "code":
            self._code(block)
        elif block.kind == "prose" or (block.kind == "list_item" and block.end - block.start > LIST_ITEM_CHARACTERS):
            self._sentences(block)
        else:
            self._add(block.start, block.end, block.kind)

    def _heading(self, block: Block) -> None:
        while self.path and self.path[-1][0] >= block.level:
            self.path.pop()
        here = len(self.units)
        self._add(block.start, block.end, "heading")
        self.path.append((block.level, here))

    def _row(self, block: Block) -> None:
        if block.level == 1:
            self.table = None
        here = len(self.units)
        self._add(block.start, block.end, "table_row", self.table)
        if self.table is None:
            self.table = here

    def _sentences(self, block: Block) -> None:
        kind: Kind = "list_item" if block.kind == "list_item" else "sentence"
        heading = self.path[-1][1] if self.path else None
        start = begin = block.start
        for stop in line_ends(self.text, start, block.end):
            for end in self.cut(self.text, begin, stop):
                if end - start > self.max_characters:
                    self._add(start, end, kind)
                else:
                    self.units.append(Unit(start, end, kind, heading))
                start = end
            begin = stop

    def _code(self, block: Block) -> None:
        # indentations and indices of the signatures that the next line may stand under
        around: list[tuple[int, int]] = []
        start = block.start
        for line in code_lines(self.text, start, block.end):
            while around and around[-1][0] >= line.indent:
                around.pop()
            here = len(self.units)
            self._add(start, line.end, "code", self.fence, around[-1][1] if around else None)
            if line.is_signature:
                around.append((line.indent, here))
            start = line.end

    def _add(self, start: int, end: int, kind: Kind, header: int | None = None, signature: int | None = None) -> None:
        """One unit, or several where it is too long, of which the later ones hang on what the first hangs on."""
        heading = self.path[-1][1] if self.path else None
        ends = [end]
        if end - start > self.max_characters:
            ends = cut_long(self.text, start, end, self.max_characters, by_line=kind == "code")
        for stop in ends:
            self.units.append(Unit(start, stop, kind, heading, header, signature))
            start = stop
