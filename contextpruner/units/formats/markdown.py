"""Markdown: the lines of a text in blocks, as paragraphs, headings, list items, table rows, rules and fenced code.

Markdown's rules in so far as they show without nesting. A line that opens no block of its own continues the
paragraph or the list item before it, and blank lines belong to the block before them. A fenced block is its
opening fence, its lines and its closing fence, or all up to the end of the text where that is missing; a
table's header row takes the line of dashes below it with it. Indented code is read as prose.
"""

from __future__ import annotations

import itertools
import re

from contextpruner.units import line_breaks
from contextpruner.units.blocks import Block, BlockKind

HEADING = re.compile(r"#{1,6}(?:\s|$)")
FENCE = re.compile(r"`{3,}|~{3,}")
BULLET = re.compile(r"[-*+•‣◦▪●○]\s")
FIRST_ITEM = re.compile(r"\(?(?:1|[aA])\)\s|1\.\s")
ITEM = re.compile(r"\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})\)\s|\d{1,3}\.\s|–\s")
# who speaks next
SPEECH = re.compile(r"—\s*\S")


def markdown_blocks(text: str) -> list[Block]:
    """The blocks of `text`, which partition it."""
    reader = _MarkdownReader()
    for line in text.splitlines(keepends=True):
        reader.read(line)
    if not text:
        return []
    begun = reader.begun or [(0, "prose", 0)]
    # blank lines at the head of a text belong to its first block
    edges = itertools.pairwise([0, *(start for start, _, _ in begun[1:]), len(text)])
    return [Block(*edge, kind, level) for edge, (_, kind, level) in zip(edges, begun, strict=True)]


class _MarkdownReader:
    """Goes through the lines once and remembers where blocks begin."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, BlockKind, int]] = []
        self.position = 0
        self.fence = ""
        # the kind of the block that the next line may continue, and how many lines it has so far
        self.open: BlockKind | None = None
        self.n_lines = 0
        # the line before, without its white space
        self.last = ""

    def read(self, line: str) -> None:
        bare = line.strip()
        if self.fence:
            self._read_fenced(bare)
        elif not bare:
            self.open = None
        elif self._closes_header(bare):
            self.n_lines += 1
        else:
            self._begin_or_continue(bare, is_indented=line[0] in " \t")
        self.position += len(line)
        self.last = bare

    def _begin_or_continue(self, bare: str, is_indented: bool) -> None:
        kind = self._kind(bare)
        if kind == "prose" and (self.open == "prose" or (self.open == "list_item" and is_indented)):
            goes_on = bare[0] != "—" or not SPEECH.match(bare)
        else:
            goes_on = kind == "prose" and self.open == "list_item" and not line_breaks.is_deliberate(self.last, bare)
        if goes_on:
            self.n_lines += 1
            return
        self.begun.append((self.position, kind, self._level(kind, bare)))
        self.open, self.n_lines = kind, 1
        if kind == "fence":
            fence = FENCE.match(bare)
            self.fence, self.open = fence.group() if fence else "", None

    def _read_fenced(self, bare: str) -> None:
        if bare.startswith(self.fence) and not bare.strip(self.fence[0]):
            self.begun.append((self.position, "fence", 0))
            self.fence = ""
        elif bare and self.begun[-1][1] == "fence":
            self.begun.append((self.position, "code", 0))

    def _closes_header(self, bare: str) -> bool:
        """A line of dashes or equal signs under one line of text makes that a heading or a table's header."""
        if self.n_lines != 1 or self.open not in ("prose", "table_row") or bare.strip("|:-= \t"):
            return False
        start = self.begun[-1][0]
        if "|" in bare and "-" in bare and "=" not in bare:
            self.begun[-1] = (start, "table_row", 1)
            self.open = "table_row"
            return True
        if self.open == "prose" and len(bare) > 1 and (not bare.strip("=") or not bare.strip("-")):
            self.begun[-1] = (start, "heading", 1 if bare[0] == "=" else 2)
            self.open = None
            return True
        return False

    def _kind(self, bare: str) -> BlockKind:
        first = bare[0]
        if first in "`~" and FENCE.match(bare):
            return "fence"
        if (first == "#" and HEADING.match(bare)) or (len(bare) > 4 and bare[:2] == bare[-2:] == "=="):
            return "heading"
        if first == "|" or bare.count("\t") > 1 or (self.open == "table_row" and "|" in bare):
            return "table_row"
        if first in "-*_" and len(bare) > 2 and not bare.strip(f"{first} \t") and bare.count(first) > 2:
            return "rule"
        # a number at the head of a line is an item's only where no sentence can be running on
        item = FIRST_ITEM if self.open == "prose" else ITEM
        return "list_item" if BULLET.match(bare) or item.match(bare) else "prose"

    def _level(self, kind: BlockKind, bare: str) -> int:
        if kind == "heading":
            # a wiki's == is 2, as it stands below the page's own title
            return len(bare) - len(bare.lstrip(bare[0]))
        return int(kind == "table_row" and self.open != "table_row")
