"""What a reader sees of an HTML source: its visible text in blocks, and where in the source each character stands.

Text between two tags of blocks is one block. White space is shown as one space but inside `pre`, entities as what they
stand for; the cells of a table row are one block with bars between them, unless the table holds a page's layout: a row
longer than `ROW_CHARACTERS` is the blocks that are in it.
"""

from __future__ import annotations

import html
import itertools
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from contextpruner.blocks import Block, BlockKind
from contextpruner.html_tokens import Token, tokens
from contextpruner.html_tree import BLOCKS, Tree, build

ROW_CHARACTERS = 600

CELLS = frozenset(("td", "th"))
ITEMS = frozenset(("li", "dt", "dd"))
LEVELS = {"title": 1, **{f"h{level}": level + 1 for level in range(1, 7)}}
PRE = frozenset(("pre", "textarea"))

# what is not shown as it stands in the source
ENTITY = r"&(?:#\d{1,7}(?!\d);?|#[xX][0-9a-fA-F]{1,6}(?![0-9a-fA-F]);?|[a-zA-Z][a-zA-Z0-9]{1,31};?)"
SPECIAL = re.compile(rf"[ \t\r\n\f]{{2,}}|{ENTITY}")
SPECIAL_IN_PRE = re.compile(ENTITY)
SPACES = str.maketrans("\t\r\n\f", "    ")


class View:
    """The visible text, the blocks that partition it, each with the path of its element, and where it comes from."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.blocks: list[Block] = []
        self.paths: list[str] = []
        # of the last row
        self.last_table = 0
        self._chunks: list[str] = []
        self._at = 0
        # the places where pieces begin, and the source of each: character for character, or as a whole
        self._places: list[int] = []
        self._origins: list[tuple[int, int, bool]] = []

    @property
    def text(self) -> str:
        return "".join(self._chunks)

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """From where to where the visible characters [start, end), at least one, stand in the source."""
        return self._origin(start)[0], self._origin(end - 1)[1]

    def add_block(self, spans: Sequence[Sequence[tuple[int, int]]], block: Block, path: str, *, is_pre: bool) -> None:
        """The text at `spans`, cell by cell, as one block of the kind and level of `block`."""
        start = self._at
        for number, cell in enumerate(spans):
            if number:
                self._add(" | ", None)
            for begin, end in cell:
                self._add_text(begin, end, is_pre=is_pre)
        self._add("\n", None)
        self.blocks.append(Block(start, self._at, block.kind, block.level))
        self.paths.append(path)

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
            self._add(shown[: len(shown) - tail], (match.start(), start, False))
        self._add_literal(start, end, is_pre=is_pre)

    def _add_literal(self, start: int, end: int, *, is_pre: bool) -> None:
        if start < end:
            text = self.source[start:end]
            self._add(text if is_pre else text.translate(SPACES), (start, end, True))

    def _add(self, text: str, origin: tuple[int, int, bool] | None) -> None:
        if origin is None:
            # what the view adds stands nowhere, behind what was last
            last = self._origins[-1][1]
            origin = (last, last, False)
        self._places.append(self._at)
        self._origins.append(origin)
        self._chunks.append(text)
        self._at += len(text)

    def _origin(self, at: int) -> tuple[int, int]:
        piece = bisect_right(self._places, at) - 1
        start, end, is_literal = self._origins[piece]
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


class _Context(NamedTuple):
    """What an element's text is: the nearest block around it, its row and table, its cell, its kind."""

    block: int = 0
    table: int = 0
    row: int = 0
    cell: int = 0
    kind: BlockKind = "prose"
    level: int = 0

    def inside(self, index: int, name: str) -> _Context:
        """The context of element `index`, a `name`, that stands in this one."""
        if name not in BLOCKS:
            return self
        if name in LEVELS:
            return self._replace(block=index, kind="heading", level=LEVELS[name])
        if name in ITEMS:
            return self._replace(block=index, kind="list_item")
        if name in PRE:
            return self._replace(block=index, kind="code")
        if name == "table":
            return _Context(block=index, table=index)
        if name == "tr":
            return self._replace(block=index, row=index, kind="prose")
        if name in CELLS:
            return self._replace(block=index, cell=index, kind="prose")
        return self._replace(block=index)


class _Run(NamedTuple):
    """Text between two tags of blocks."""

    context: _Context
    spans: list[tuple[int, int]]

    @property
    def size(self) -> int:
        return self.spans[-1][1] - self.spans[0][0]


def view(source: str) -> View:
    """What a reader sees of `source`."""
    read = list(tokens(source))
    tree = build(read)
    shown = View(source)
    for _, group in itertools.groupby(_runs(source, read, tree), key=lambda run: run.context.row or object()):
        _add_runs(shown, tree, list(group))
    return shown


def _add_runs(shown: View, tree: Tree, runs: list[_Run]) -> None:
    """Runs of one row, or a single one."""
    first = runs[0].context
    if first.row and sum(run.size for run in runs) <= ROW_CHARACTERS:
        is_head = first.table != shown.last_table
        shown.last_table = first.table
        cells = [[span for run in cell for span in run.spans] for _, cell in itertools.groupby(runs, _cell)]
        shown.add_block(cells, Block(0, 0, "table_row", int(is_head)), tree.elements[first.row].path, is_pre=False)
        return
    for context, spans in runs:
        block = Block(0, 0, context.kind, context.level)
        shown.add_block([spans], block, tree.elements[context.block].path, is_pre=context.kind == "code")


def _cell(run: _Run) -> int:
    return run.context.cell


def _runs(source: str, read: Sequence[Token], tree: Tree) -> Iterator[_Run]:
    contexts = [_Context()]
    for index, element in enumerate(tree.elements[1:], 1):
        contexts.append(contexts[element.parent].inside(index, element.name))
    spans: list[tuple[int, int]] = []
    context = contexts[0]
    for token, inside in zip(read, tree.inside, strict=True):
        if token.kind == "text":
            context = context if spans else contexts[inside]
            spans.append((token.start, token.end))
        elif token.kind != "hidden" and token.name in BLOCKS:
            yield from _run(source, context, spans)
            spans = []
    yield from _run(source, context, spans)


def _run(source: str, context: _Context, spans: list[tuple[int, int]]) -> Iterator[_Run]:
    """The run without white space at its edges, if anything is left of it; `pre` keeps its indentation."""
    shown = [number for number, (start, end) in enumerate(spans) if not source[start:end].isspace()]
    if not shown:
        return
    spans = spans[shown[0] : shown[-1] + 1]
    (start, first_end), (last_start, end) = spans[0], spans[-1]
    head, tail = source[start:first_end], source[last_start:end]
    spans[0] = (start + len(head) - len(head.lstrip("\r\n" if context.kind == "code" else None)), first_end)
    spans[-1] = (spans[-1][0], end - len(tail) + len(tail.rstrip()))
    yield _Run(context, spans)
