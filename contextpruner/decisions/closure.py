"""Dependency closure: what a kept unit leans on is kept with it, and what a kept unit introduces.

    header, spanning   the header of a row, and the row whose cell reaches into it; both fences around a line of code
    caption            what names the table of a row
    lead_in            what leads up to a list, a table or code
    parent             the item above an item, the clause above its letters
    signature          the line that opens the block of code around a line: def, class, if, for, ...
    heading            of the section in which the unit stands
    antecedent         of a sentence that begins with a pronoun: the nearest before it that does not
    introduced         with a heading, a question, a term or a lead-in that is kept for its own sake what it introduces;
                       with an item of a list, a row or a line, those that are introduced by the same unit and are just
                       as probable: it is the list as a whole that is asked for

All but the last are relations that the splitter found (`units.unit`). Dependencies of dependencies count too: the
heading above a heading, the class around a method. Sentences torn from what they refer to mislead readers, in
multi-hop questions most of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, get_args

import numpy as np

from contextpruner.units.split import SplitDocument
from contextpruner.units.unit import Relation

Dependency = Relation | Literal["introduced"]
DEPENDENCIES: tuple[Dependency, ...] = (*get_args(Relation), "introduced")

# how a set of them is called in text
NAMED: dict[str, tuple[Dependency, ...]] = {"all": DEPENDENCIES, "none": ()}

# a unit of all documents counted through, and how it belongs to another
Dependent = tuple[Dependency, int]


def closure_of(text: str) -> tuple[Dependency, ...]:
    """The kinds that `text` names: all, none, or some of them with commas between."""
    return NAMED[text] if text in NAMED else checked_closure(tuple(part.strip() for part in text.split(",")))


def checked_closure(closure: object) -> tuple[Dependency, ...]:
    """`closure` if it is a tuple of dependencies; raises ValueError otherwise."""
    if not isinstance(closure, tuple) or not set(closure) <= set(DEPENDENCIES):
        raise ValueError(f"closure wants a tuple of {', '.join(DEPENDENCIES)}, got {closure!r}")
    return closure


class Dependencies:
    """What is kept with the units of `documents`, which are counted through, by the `kinds` of the policy.

    `probabilities` [units] say which items of a list are asked for as a whole; where there are none, none are.
    """

    def __init__(
        self, documents: Sequence[SplitDocument], kinds: Sequence[Dependency], probabilities: np.ndarray | None = None
    ) -> None:
        self.leaning: list[list[Dependent]] = []
        # what comes along with a unit that is kept for its own sake
        self.introduced: dict[int, Sequence[int]] = {}
        for document in documents:
            first = len(self.leaning)
            for unit in document.units:
                self.leaning.append([(kind, first + at) for kind, at in unit.relations if kind in kinds])
            if "introduced" in kinds:
                self._introduce(document, first, probabilities)

    def _introduce(self, document: SplitDocument, first: int, probabilities: np.ndarray | None) -> None:
        for number, unit in enumerate(document.units):
            if unit.introduces is None:
                continue
            begin, end = unit.introduces
            inside = [first + at for at in range(begin, end) if document.units[at].competes]
            self.introduced[first + number] = inside
            if probabilities is not None and len(inside) > 1:
                best = probabilities[inside].max()
                tied = [at for at in inside if probabilities[at] == best]
                if len(tied) > 1 and best > 0:
                    self.introduced |= {at: tied for at in tied}

    def of(self, unit: int) -> Iterator[Dependent]:
        """All that is kept with `unit` where that is kept for its own sake, each once, the nearest first."""
        return self.reached([unit], {unit}.__contains__)

    def reached(self, units: Iterable[int], is_held: Callable[[int], bool]) -> Iterator[Dependent]:
        """What is kept with `units`, directly or not, each once; what `is_held` already, with all that it leans on."""
        seen: set[int] = set()
        for unit in units:
            waiting = [unit]
            links: list[Dependent] = [("introduced", other) for other in self.introduced.get(unit, ())]
            # the list grows while it is gone through
            for at in waiting:
                for kind, other in (*self.leaning[at], *links):
                    if other not in seen and not is_held(other):
                        seen.add(other)
                        waiting.append(other)
                        yield kind, other
                links = []


def kept_from(documents: Sequence[SplitDocument], kinds: Sequence[Dependency], probabilities: np.ndarray) -> np.ndarray:
    """The highest threshold at which each unit is kept, for its own sake or with another, float32 [units].

    `probabilities` [units] are those of all `documents`; what no threshold above 0 keeps has 0.
    """
    along = Dependencies(documents, kinds, probabilities)
    found = np.zeros(len(probabilities), dtype=np.float32)
    held: set[int] = set()
    for unit in np.argsort(-probabilities, kind="stable").tolist():
        if probabilities[unit] <= 0:
            break
        new = [unit, *(other for _, other in along.reached([unit], held.__contains__))]
        found[[one for one in new if one not in held]] = probabilities[unit]
        held.update(new)
    return found
