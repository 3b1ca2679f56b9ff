"""Units: the pieces of a text that are kept or dropped as a whole."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["sentence", "heading", "list_item", "table_row", "code", "rule"]


class Unit(NamedTuple):
    """The characters [start, end) of a text and what they are; the units of a text partition it."""

    start: int
    end: int
    kind: Kind
