"""Dependency closure: what a kept unit leans on is kept with it.

    antecedent   of a sentence that begins with a pronoun or a demonstrative: the nearest sentence before it, in the
                 same section, that begins with neither
    heading      of the section in which the unit stands
    header       the first row of the table to which a row belongs; both fences around a line of fenced code
    signature    the line that opens the block of code around a line: def, class, if, for, ...

Dependencies of dependencies count too: the heading above a heading, the class around a method. Sentences torn
from what they refer to mislead readers, in multi-hop questions most of all. Pronouns are told by short closed
lists (English, German, French, Spanish); a sentence of another language has no antecedent here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from contextpruner.document import SplitDocument

Dependency = Literal["antecedent", "heading", "header", "signature"]
ALL: tuple[Dependency, ...] = get_args(Dependency)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PRONOUNS = _words(
    "he she it they him her them his hers its their theirs himself herself itself themselves this that these those "
    "such both neither former latter er sie ihn ihm ihr ihre ihren ihrem ihres sein seine seinen seinem seiner "
    "dieser diese dieses diesen diesem jener jene jenes beide il elle ils elles lui leur leurs ce cet cette ces "
    "celui celle ceux celles él ella ello ellos ellas su sus este esta esto estos estas ese esa eso esos esas "
    "aquel aquella ambos"
)
# the first word, behind quotes and brackets; an article may stand before "former" and "latter"
FIRST = re.compile(r"[\W_]*(?:the (?=former\b|latter\b))?([^\W\d_]+)", re.IGNORECASE)


def leans_back(sentence: str) -> bool:
    """Whether `sentence` begins with a word that points to what was said before it."""
    first = FIRST.match(sentence)
    return first is not None and first[1].lower() in PRONOUNS


def needs(documents: Sequence[SplitDocument], kinds: Sequence[Dependency]) -> list[list[tuple[Dependency, int]]]:
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


def reached(unit: int, leaning: Sequence[Sequence[tuple[Dependency, int]]]) -> Iterator[tuple[Dependency, int]]:
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
    standing: int | None = None
    for number, (unit, text) in enumerate(zip(document.units, document.texts, strict=True)):
        if unit.kind != "sentence":
            # a heading ends what can be referred to; a list, a table or code in between does not
            standing = None if unit.kind == "heading" else standing
            found.append(None)
        elif leans_back(text):
            found.append(standing)
        else:
            standing = number
            found.append(None)
    return found
