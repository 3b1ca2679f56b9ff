"""Tables that are drawn with characters: grids of +---+ and | lines, and columns aligned by spaces.

In a grid, of any characters that draw lines, a row is what stands between two borders, or, where all of its lines have
something in their first cell, each line by itself, as databases print them. Rows above a border of equal signs are
headers; without one the first row is, if borders do not stand between all rows. A border goes with the row above it,
the first one with the first row.

Aligned columns are three lines or more with a gap of two spaces between all of their columns at the same places, or two
with a line of dashes; their first line is the header where it is underlined, in capitals, or free of digits that stand
below it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from contextpruner.units.blocks import FIRST_ROW, HEAD_ROW, Block

BORDER = re.compile(r"\+(?:[-=:]+\+)+$")
# the characters that were made to draw lines with, as those that stand in for them elsewhere
LINES = {"-": "─━┄┅┈┉═╌╍", "|": "│┃┆┇┊┋║╎╏"}
BOX = dict.fromkeys(range(0x2500, 0x2580), "+") | {ord(line): plain for plain, all_ in LINES.items() for line in all_}
# corners at the left of a border that is drawn otherwise than the others, below a header
BELOW_HEADER = "╞┡┝╘"
UNDERLINES = re.compile(r"[-=]{2,}(?: +[-=]{2,})+$")
GAP = re.compile(r"\S {2,}\S")
BAR = re.compile(r"\S {1,3}\| {1,3}\S")
DIGIT = re.compile(r"\d")

MOST_COLUMNS = 300
# a header and two rows that have digits where it has none
ROWS = 3
# rows at the head of a table
MOST_HEADS = 3


class Line(NamedTuple):
    """A line without its white space, and where it begins."""

    start: int
    bare: str


def plain(bare: str) -> str:
    """`bare` as it is drawn without characters made for that, where it is a line of a grid drawn with them."""
    if not bare or not "\u2500" <= bare[0] <= "\u257f":
        return bare
    drawn = bare.translate(BOX)
    return drawn.replace("-", "=") if bare[0] in BELOW_HEADER else drawn


def grid_rows(lines: Sequence[Line]) -> list[tuple[int, int]]:
    """Where the rows of a grid begin, and their levels (`blocks.Block`); the first begins where the grid does."""
    # the lines between borders
    parts: list[list[Line]] = [[]]
    n_heads = 0
    for line in lines:
        if not BORDER.match(line.bare):
            parts[-1].append(line)
        elif parts[-1]:
            n_heads = len(parts) if "=" in line.bare and not n_heads else n_heads
            parts.append([])
    parts = [part for part in parts if part]
    separate = [len(part) > 1 and all(_first_cell(line.bare) for line in part) for part in parts]
    if not n_heads and len(parts) > 1 and any(separate[1:]) and not separate[0]:
        n_heads = 1
    rows: list[tuple[int, int]] = []
    for number, part in enumerate(parts):
        is_head = number < min(n_heads, MOST_HEADS)
        for line in part if separate[number] and not is_head else part[:1]:
            rows.append((line.start, HEAD_ROW if is_head else 0))
    if not rows:
        return [(lines[0].start, FIRST_ROW)]
    return [(lines[0].start, rows[0][1] or FIRST_ROW), *rows[1:]]


def aligned_rows(text: str, block: Block) -> list[Block]:
    """The rows of `block` if it is a table of aligned columns, with what names it in the line above; else none.

    Lines with as many bars each, none at their head, are one as well.
    """
    if BAR.search(text, block.start, block.end):
        return _barred_rows(text, block)
    if not GAP.search(text, block.start, block.end):
        return []
    end = text.index("\n", block.start, block.end) + 1 if "\n" in text[block.start : block.end] else block.end
    if end < block.end and not GAP.search(text, block.start, end):
        rows = _aligned_rows(text, block._replace(start=end))
        return rows and [block._replace(end=end), *rows]
    return _aligned_rows(text, block)


def _barred_rows(text: str, block: Block) -> list[Block]:
    lines = _lines(text, block)
    counts = {len(BAR.findall(line.bare)) for line in lines}
    if len(lines) < ROWS or len(counts) > 1 or 0 in counts or max(len(line.bare) for line in lines) > MOST_COLUMNS:
        return []
    edges = itertools.pairwise([block.start, *(line.start for line in lines[1:]), block.end])
    rows = [Block(*edge, "table_row", 0 if number else FIRST_ROW) for number, edge in enumerate(edges)]
    return with_headers(text, rows)


def with_headers(text: str, blocks: Sequence[Block]) -> list[Block]:
    """`blocks`, with the first row of a table without a line of dashes as its header where it is free of digits."""
    found = list(blocks)
    first, n_rows = -1, 0
    for number, block in enumerate(found):
        if block.kind != "table_row" or block.level == FIRST_ROW:
            first, n_rows = (number, 0) if block.kind == "table_row" else (-1, 0)
        elif block.level == HEAD_ROW:
            first = -1
        n_rows += 1
        if first >= 0 and n_rows == ROWS and _has_header(text, found[first : number + 1]):
            found[first] = found[first]._replace(level=HEAD_ROW)
    return found


def _has_header(text: str, rows: Sequence[Block]) -> bool:
    shown = [text[row.start : row.end] for row in rows]
    return not DIGIT.search(shown[0]) and all(map(DIGIT.search, shown[1:]))


def _aligned_rows(text: str, block: Block) -> list[Block]:
    lines = _lines(text, block)
    rows = [line for line in lines if not UNDERLINES.match(line.bare)]
    is_underlined = len(rows) < len(lines) and len(rows) > 1
    if len(rows) < (2 if is_underlined else 3) or not _is_aligned(text, rows):
        return []
    starts = [block.start, *(line.start for line in rows[1:])]
    ends = [*starts[1:], block.end]
    head, below = rows[0].bare, rows[1:]
    has_head = not DIGIT.search(head) and any(DIGIT.search(line.bare) for line in below)
    has_head |= is_underlined or head.isupper()
    level = HEAD_ROW if has_head else FIRST_ROW
    pairs = zip(starts, ends, strict=True)
    return [Block(*edges, "table_row", 0 if number else level) for number, edges in enumerate(pairs)]


def _lines(text: str, block: Block) -> list[Line]:
    found: list[Line] = []
    at = block.start
    for line in text[block.start : block.end].splitlines(keepends=True):
        if line.strip():
            found.append(Line(at, line.strip()))
        at += len(line)
    return found


def _is_aligned(text: str, rows: Sequence[Line]) -> bool:
    """Whether all of `rows` have something in two columns of them all."""
    used: set[int] = set()
    widths: list[set[int]] = []
    for line in rows:
        if len(line.bare) > MOST_COLUMNS:
            return False
        begin = text.index(line.bare[0], line.start) - line.start
        widths.append({begin + at for at, character in enumerate(line.bare) if character != " "})
        used |= widths[-1]
    ordered = sorted(used)
    gutters = [after for before, after in zip(ordered, ordered[1:], strict=False) if after - before > 2]
    return bool(gutters) and all(any(min(row) < gutter <= max(row) for gutter in gutters) for row in widths)


def _first_cell(bare: str) -> str:
    return bare.lstrip("|").partition("|")[0].strip()
