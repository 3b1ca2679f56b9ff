"""Units: the pieces of a text that are kept or dropped as a whole, and what each of them hangs on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

Kind = Literal[
    "sentence",
    "heading",
    "list_item",
    "table_row",
    "code",
    "fence",
    "record",
    "cue",
    "turn",
    "field",
    "environment",
    "rule",
    "markup",
]

# what a unit leans on, and how: the nearest first
Relation = Literal["header", "spanning", "caption", "lead_in", "parent", "signature", "heading", "antecedent"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
Link = tuple[Relation, int]

# relations to what says what a unit is about, whose words are the unit's, too
NAMING: frozenset[Relation] = frozenset(("header", "spanning", "caption", "lead_in", "parent", "heading"))

# no unit is asked for more of them, however deep it stands
MOST_ANCESTORS = 16


class Unit(NamedTuple):
    """The characters [start, end) of a text and what they are; the units of a text partition it.

    `relations` are the units that this one leans on, without which it cannot be read, by their index in the text:

        header      a table row's header; a fenced line's opening fence, and that fence's closing one; what a term
                    means (`dd`) has the term; a value in JSON the key above it, a row of CSV the first line
        spanning    the row whose cell reaches down into this one (rowspan)
        caption     what names the table in which a row stands
        lead_in     what leads up to a list, a table or code ("It is forbidden to:")
        parent      the item above an item of a nested list; the clause above its letters
        signature   the line that opens the function or class around a code line
        heading     the heading of the section; of a heading the one above it
        antecedent  what a sentence that begins with a pronoun refers to (`pronouns`)

    `introduces` is the other way round: the later units [first, last) that a heading, a question, a term or a lead-in
    promises, and the earlier ones above their caption. Of a unit that only does that, as headers and fences do,
    `competes` is false: it is no answer by itself.

    In HTML a unit also has the `path` of its element and the `text` that a reader sees, which a labeler reads in
    place of the slice; markup between blocks has an empty one.
    """

    start: int
    end: int
    kind: Kind
    relations: tuple[Link, ...] = ()
    path: str = ""
    text: str | None = None
    introduces: tuple[int, int] | None = None
    competes: bool = True

    def link(self, relation: Relation) -> int | None:
        """The first unit that this one leans on in this way."""
        return next((index for kind, index in self.relations if kind == relation), None)

    def linked(self, relation: Relation, index: int | None) -> Unit:
        """This unit, leaning on `index` as well if that is one."""
        if index is None or (relation, index) in self.relations:
            return self
        links = sorted((*self.relations, (relation, index)), key=lambda link: RELATIONS.index(link[0]))
        return self._replace(relations=tuple(links))


def ancestors(units: Sequence[Unit], index: int) -> Iterator[int]:
    """The earlier units that say what unit `index` is about or stands in, nearest first: headings come last."""
    yield from _walk(units, index, frozenset((*NAMING, "signature")))


def introduced_by(units: Sequence[Unit], index: int) -> tuple[int, ...]:
    """The units whose words are those of unit `index`, too, nearest first: header, caption, lead-in, headings."""
    return tuple(_walk(units, index, NAMING))


def _walk(units: Sequence[Unit], index: int, kinds: frozenset[Relation]) -> Iterator[int]:
    seen, waiting, headings = {index}, [index], list[int]()
    while (waiting or headings) and len(seen) <= MOST_ANCESTORS:
        at = waiting.pop(0) if waiting else headings.pop(0)
        if at != index:
            yield at
        for kind, other in units[at].relations:
            if kind in kinds and (other < at or kind == "caption") and other not in seen:
                seen.add(other)
                (headings if kind == "heading" else waiting).append(other)
