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

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from contextpruner.units.code_lines import code_lines
from contextpruner.units.line_breaks import line_ends
from contextpruner.units.long_text import cut_long
from contextpruner.units.sentences.boundaries import sentence_ends
from contextpruner.units.unit import Kind, Link, Relation, Unit

MAX_CHARACTERS = 1200

# a list item of this length is read as a whole; a longer one is cut into its sentences
LIST_ITEM_CHARACTERS = 300

BlockKind = Literal["prose"] | Kind

# where the sentences of text[start:end] end, in order; the last of them is end
SentenceEnds = Callable[[str, int, int], Sequence[int]]


# a row of a table that has words in its first cell alone, bold or with a colon: it heads those below it
PART = re.compile(r"\|?\s*(?:(\*\*|__)[^|]*[^|\s]\1\s*:?|[^|]*[^|\s]:)\s*(?:\|\s*)+$")


def _heads_part(row: str) -> bool:
    """Whether a row of a table, its cells between bars, is a heading inside the table."""
    return PART.match(row.strip()) is not None


class Block(NamedTuple):
    """The characters [start, end) of a text, whole lines.

    `level` is 1 (the highest) to 9 for a heading; for a row `FIRST_ROW` or `HEAD_ROW` where one of those begins a
    table, else 0; for a list item how deep it stands, from 1 on; for prose that goes on in a list item that item's; for
    a line at the head of a mail `MACHINES` or `NEW_MAIL`, else 0.
    """

    start: int
    end: int
    kind: BlockKind
    level: int = 0


FIRST_ROW, HEAD_ROW = 1, 2
# of a line at the head of a mail: one that only machines read, one behind which another mail begins
MACHINES, NEW_MAIL = 1, 2


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
        # levels and indices of the headings that the next unit stands under, and of the list items
        self.path: list[tuple[int, int]] = []
        self.items: list[tuple[int, int]] = []
        self.fence: int | None = None
        # the last header row of the table that is being read, or its first row; and whether its body has begun
        self.table: int | None = None
        self.is_body = True
        # the row that heads the part of the table that is being read
        self.part: int | None = None

    def read(self, block: Block) -> None:
        if block.kind in ("heading", "rule") or (block.kind == "prose" and not block.level):
            self.items = []
        if block.kind == "heading":
            self._heading(block)
        elif block.kind == "table_row":
            self._row(block)
        elif block.kind == "fence":
            self._fence(block)
        elif block.kind == "code":
            self._code(block)
        elif block.kind == "prose":
            self._sentences(block, self._parent(block.level + 1) if block.level else None)
        elif block.kind == "list_item":
            self._item(block)
        elif block.kind == "field":
            self._field(block)
        else:
            self._add(block.start, block.end, block.kind, competes=block.kind != "rule")

    def _heading(self, block: Block) -> None:
        while self.path and self.path[-1][0] >= block.level:
            self.path.pop()
        here = len(self.units)
        self._add(block.start, block.end, "heading", competes=False)
        self.path.append((block.level, here))

    def _row(self, block: Block) -> None:
        is_head = block.level == HEAD_ROW
        if block.level == FIRST_ROW or (is_head and self.is_body):
            self.table = self.part = None
        here = len(self.units)
        is_part = not is_head and self.table is not None and _heads_part(self.text[block.start : block.end])
        header = self.table if is_part or self.part is None else self.part
        self._add(block.start, block.end, "table_row", (("header", header),), competes=not is_head and not is_part)
        if self.table is None or is_head:
            self.table = here
        if is_part:
            self.part = here
        self.is_body = not is_head

    def _fence(self, block: Block) -> None:
        here = len(self.units)
        self._add(block.start, block.end, "fence", (("header", self.fence),), competes=False)
        if self.fence is not None:
            # a block that is opened is closed, or all that follows it would be read as code
            self.units[self.fence] = self.units[self.fence].linked("header", here)
        self.fence = here if self.fence is None else None

    def _field(self, block: Block) -> None:
        path = self.path if block.level < NEW_MAIL else []
        # what stands beside a subject is not below it
        self.path = []
        self._add(block.start, block.end, "field", competes=not block.level)
        self.path = path

    def _item(self, block: Block) -> None:
        parent = self._parent(block.level)
        here = len(self.units)
        if block.end - block.start > LIST_ITEM_CHARACTERS:
            self._sentences(block, parent)
        else:
            self._add(block.start, block.end, "list_item", (("parent", parent),))
        self.items.append((block.level, here))

    def _parent(self, level: int) -> int | None:
        """The list item above one of this level."""
        while self.items and self.items[-1][0] >= level:
            self.items.pop()
        return self.items[-1][1] if self.items else None

    def _sentences(self, block: Block, parent: int | None) -> None:
        kind: Kind = "list_item" if block.kind == "list_item" else "sentence"
        links = self._links((("parent", parent),))
        start = begin = block.start
        for stop in line_ends(self.text, start, block.end):
            for end in self.cut(self.text, begin, stop):
                if end - start > self.max_characters:
                    self._add(start, end, kind, (("parent", parent),))
                else:
                    self.units.append(Unit(start, end, kind, links))
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
            signature = around[-1][1] if around else None
            self._add(start, line.end, "code", (("header", self.fence), ("signature", signature)))
            if line.is_signature:
                around.append((line.indent, here))
            start = line.end

    def _links(self, links: Sequence[tuple[Relation, int | None]]) -> tuple[Link, ...]:
        heading = self.path[-1][1] if self.path else None
        return tuple((kind, index) for kind, index in (*links, ("heading", heading)) if index is not None)

    def _add(
        self, start: int, end: int, kind: Kind, links: Sequence[tuple[Relation, int | None]] = (), competes: bool = True
    ) -> None:
        """One unit, or several where it is too long, of which the later ones hang on what the first hangs on."""
        found = self._links(links)
        ends = [end]
        if end - start > self.max_characters:
            ends = cut_long(self.text, start, end, self.max_characters, by_line=kind == "code")
        for stop in ends:
            self.units.append(Unit(start, stop, kind, found, competes=competes))
            start = stop
