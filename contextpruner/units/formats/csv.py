"""CSV and TSV: a record is a row, with the line breaks in its quotes; the first one is the header if it reads like one.

A header has no empty cell and no number in it. A first row that is none is kept with the others all the same, as nobody
can say what it is, but is an answer like any other.
"""

from __future__ import annotations

import re

from contextpruner.units.blocks import FIRST_ROW, HEAD_ROW, Block

DELIMITERS = ",;\t|"
NUMBER = re.compile(r"[\s\"']*[-+]?[\d.,]*\d[\d.,]*\s*[%€$]?[\s\"']*$")
# what is read to tell the delimiter
HEAD = 4000


def csv_blocks(text: str) -> list[Block]:
    """The rows of `text`, which partition it; blank lines go with the row above."""
    starts: list[int] = []
    position, is_open = 0, False
    for line in text.splitlines(keepends=True):
        if not is_open and line.strip():
            starts.append(position)
        # a quote in quotes is written twice, so that parity says whether one is open
        is_open ^= line.count('"') % 2 == 1
        position += len(line)
    if not text:
        return []
    edges = [0, *starts[1:], len(text)]
    level = HEAD_ROW if is_header(text[: edges[1]]) and len(edges) > 2 else FIRST_ROW
    pairs = zip(edges, edges[1:], strict=False)
    return [Block(start, end, "table_row", 0 if number else level) for number, (start, end) in enumerate(pairs)]


def is_header(row: str) -> bool:
    """Whether `row` names columns."""
    delimiter = max(DELIMITERS, key=row.count)
    cells = [cell.strip(" \t\r\n\"'\ufeff") for cell in row[:HEAD].split(delimiter)]
    return len(cells) > 1 and all(cells) and not any(NUMBER.match(cell) for cell in cells)
