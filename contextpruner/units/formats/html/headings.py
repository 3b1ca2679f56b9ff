"""What the units of an HTML page hang on, by the tree of its elements.

A heading holds until one of its own level or a higher one, or the end of the section (`blocks.SECTIONS`) in which
it stands. A row hangs on the last of the rows that head its table, those in `thead` or of `th` alone, else on the first
row; a row that heads a part of the table stands between the two; the first row hangs on the caption. What a term
means hangs on the term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from contextpruner.units.formats.html.blocks import BlockPlace
from contextpruner.units.unit import Relation

# rows at the head of a table, or terms in a row, that hang on each other; rows that reach into another
MOST_HEADS = 3
MOST_SPANNING = 4


@dataclass
class _Group:
    """Of a table or a list of terms: its last header, that of its current part, and whether its body has begun.

    `spanning` are the rows that reach down into the next one, each with how many rows further.
    """

    caption: int | None = None
    head: int | None = None
    part: int | None = None
    n_heads: int = 0
    is_begun: bool = False
    spanning: list[tuple[int, int]] = field(default_factory=list)


class HeadingsAndHeaders:
    """The links of one block after another, in the order of the page."""

    def __init__(self, last_inside: Sequence[int]) -> None:
        self.last_inside = last_inside
        self._headings: list[tuple[int, int, int]] = []
        self._groups: dict[int, _Group] = {}

    def heading(self, place: BlockPlace, level: int, unit: int) -> int | None:
        """The heading over the block whose first unit is `unit`, itself a heading where it has a `level`."""
        while self._headings:
            above, section, _ = self._headings[-1]
            if section <= place.section <= self.last_inside[section] and not 0 < level <= above:
                break
            self._headings.pop()
        found = self._headings[-1][2] if self._headings else None
        if level:
            self._headings.append((level, place.section, unit))
        return found

    def headers(self, place: BlockPlace, is_row: bool, unit: int) -> list[tuple[Relation, int | None]]:
        """The rows, the caption or the term without which the block whose first unit is `unit` cannot be read."""
        if not place.role:
            return []
        group = self._groups.setdefault(place.group, _Group())
        if place.role == "caption":
            group.caption = unit
            return []
        if not is_row:
            return [("header", _term(group, place, unit))]
        found: list[tuple[Relation, int | None]] = [("header", _header(group, place, unit))]
        found += [("spanning", row) for row, _ in group.spanning]
        group.spanning = [(row, further - 1) for row, further in group.spanning if further > 1]
        if place.n_rows_below:
            group.spanning = [*group.spanning, (unit, place.n_rows_below)][-MOST_SPANNING:]
        return [*found, ("caption", group.caption)]


def _header(group: _Group, place: BlockPlace, unit: int) -> int | None:
    is_first = not group.n_heads and not group.is_begun
    is_head = place.role in ("head", "part")
    if is_head and (group.is_begun or (place.role == "part" and group.n_heads)):
        found, group.part = group.head, unit
    elif is_first or (is_head and group.n_heads < MOST_HEADS):
        found, group.head = group.head, unit
        group.n_heads += 1
        group.is_begun = place.role == "body"
    else:
        found = group.head if group.part is None else group.part
        group.is_begun = True
    return found


def _term(group: _Group, place: BlockPlace, unit: int) -> int | None:
    if place.role == "body":
        group.is_begun = True
        return group.head
    group.n_heads = 1 if group.is_begun else group.n_heads + 1
    found = group.head if 1 < group.n_heads <= MOST_HEADS else None
    group.head, group.is_begun = unit, False
    return found
