"""Dependency closure: what a kept unit leans on is kept with it.

    antecedent   of a sentence that begins with a pronoun or a demonstrative (`pronouns`): the nearest sentence before
                 it, in the same section, that begins with neither; of such a list item the nearest sentence or item
    heading      of the section in which the unit stands
    header       the first row of the table to which a row belongs; both fences around a line of fenced code
    signature    the line that opens the block of code around a line: def, class, if, for, ...

Dependencies of dependencies count too: the heading above a heading, the class around a method. Sentences torn
from what they refer to mislead readers, in multi-hop questions most of all. In a language without a list of pronouns no
sentence has an antecedent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from contextpruner.units.pronouns import leans_back
from contextpruner.units.split import SplitDocument

Dependency = Literal["antecedent", "heading", "header", "signature"]
DEPENDENCIES: tuple[Dependency, ...] = get_args(Dependency)


def dependencies(documents: Sequence[SplitDocument], kinds: Sequence[Dependency]) -> list[list[tuple[Dependency, int]]]:
    """For each unit of all documents, counted through: which other units it leans on directly, and how."""
    found: list[list[tuple[Dependency, int]]] = []
    for document in documents:
        first = len(found)
        antecedents = _antecedents(document) if "antecedent" in kinds else [None] * len(document.units)
        for unit, antecedent in zip(document.units, antecedents, strict=True):
            held = {"antecedent": antecedent, "heading": unit.heading, "header": unit.header}
            held["signature"] = unit.signature
            found.append([(kind, first + at) for kind in kinds if (at := held[kind]) is not None])
        if "header" in kinds:
            # a block that is opened is closed, or all that follows it would be read as code
            for number, unit in enumerate(document.units):
                if unit.kind == "fence" and unit.header is not None:
                    found[first + unit.header].append(("header", first + number))
    return found


def transitive(unit: int, leaning: Sequence[Sequence[tuple[Dependency, int]]]) -> Iterator[tuple[Dependency, int]]:
    """All that `unit` leans on, directly or not, each once, the nearest first."""
    seen, waiting = {unit}, [unit]
    # the list grows while it is gone through
    for at in waiting:
        for kind, other in leaning[at]:
            if other not in seen:
                seen.add(other)
                waiting.append(other)
                yield kind, other


def _antecedents(document: SplitDocument) -> list[int | None]:
    """The antecedent of each unit, by its number in the document."""
    found: list[int | None] = []
    # the last sentence, and the last sentence or list item, that stands alone
    sentence: int | None = None
    either: int | None = None
    for number, (unit, text) in enumerate(zip(document.units, document.texts, strict=True)):
        antecedent: int | None = None
        if unit.kind == "heading":
            # ends what can be referred to; a list, a table or code in between does not
            sentence = either = None
        elif unit.kind in ("sentence", "list_item"):
            is_sentence = unit.kind == "sentence"
            if leans_back(text):
                antecedent = sentence if is_sentence else either
            else:
                either = number
                sentence = number if is_sentence else sentence
        found.append(antecedent)
    return found
