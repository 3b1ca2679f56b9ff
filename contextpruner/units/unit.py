"""Units: the pieces of a text that are kept or dropped as a whole, and what each of them hangs on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

Kind = Literal["sentence", "heading", "list_item", "table_row", "code", "fence", "rule", "markup"]


# the fields that name other units
RELATIONS = ("heading", "header", "signature")


class Unit(NamedTuple):
    """The characters [start, end) of a text and what they are; the units of a text partition it.

    The other fields are indices of earlier units of the same text, or None where there is none.

        heading     the heading of the section that the unit stands in; for a heading the one above it, so that
                    a unit's heading path is heading, heading of the heading, and so on
        header      what the unit cannot be read without: a table row's first row (the one above the line of
                    dashes), a fenced line's opening fence; a closing fence, too, has its opening one
        signature   the line that opens the function or class around a code line; for a signature the one
                    around it

    In HTML a unit also has the `path` of its element and the `text` that a reader sees, which a labeler reads in
    place of the slice; markup between blocks has an empty one.
    """

    start: int
    end: int
    kind: Kind
    heading: int | None = None
    header: int | None = None
    signature: int | None = None
    path: str = ""
    text: str | None = None


def ancestors(units: Sequence[Unit], index: int) -> Iterator[int]:
    """What unit `index` hangs on, directly or not, nearest first: header, then signatures, then headings."""
    unit = units[index]
    if unit.header is not None:
        yield unit.header
    signature = unit.signature
    while signature is not None:
        yield signature
        signature = units[signature].signature
    heading = unit.heading
    while heading is not None:
        yield heading
        heading = units[heading].heading
