"""Documents as retrieval cuts them: passages of one to ten sentences, and the same sentences with structure.

Every function gives a document and where its gold stands now; characters of gold are those that they were.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from contextpruner.documents.document import Document
from contextpruner.training.examples.example import Spans, merged
from contextpruner.units.split import split

MOST_SENTENCES = 10
# a piece of text and its gold
Piece = tuple[str, Spans]


def cut_passage(document: Document, gold: Spans, draw: random.Random) -> tuple[Document, Spans]:
    """One to ten units in a row, with one of the gold ones among them where there is any."""
    units = split(document.text)
    if len(units) < 2:
        return document, gold
    n_units = draw.randint(1, min(MOST_SENTENCES, len(units)))
    at = draw.randrange(len(units))
    if gold:
        start, end = draw.choice(gold)
        at = next((number for number, unit in enumerate(units) if unit.end > start and unit.start < end), at)
    first = draw.randint(max(0, at - n_units + 1), min(at, len(units) - n_units))
    return part_of(document, gold, units[first].start, units[first + n_units - 1].end)


def part_of(document: Document, gold: Spans, start: int, end: int) -> tuple[Document, Spans]:
    """The characters [start, end) of `document`, without white space around them, and the gold in them."""
    text = document.text[start:end]
    start += len(text) - len(text.lstrip())
    text = text.strip()
    inside = ((max(one - start, 0), min(two - start, len(text))) for one, two in gold)
    return Document(text, title=document.title), merged(inside)


def as_list(document: Document, gold: Spans) -> tuple[Document, Spans]:
    """A list with an item for each unit, under the title where there is one."""
    pieces: list[Piece] = [(f"## {document.title}\n\n", ())] if document.title else []
    for piece in _lines(document.text, gold):
        pieces += [("- ", ()), piece, ("\n", ())]
    return _document(pieces)


def as_table(document: Document, gold: Spans) -> tuple[Document, Spans]:
    """A table of Markdown with a row for each unit: its number and its text."""
    name = document.title.replace("|", " ") if document.title else "Text"
    pieces: list[Piece] = [(f"| No. | {name} |\n| --- | --- |\n", ())]
    for number, (text, spans) in enumerate(_lines(document.text, gold), 1):
        # a bar would be another cell; one character for one, so that places stay
        pieces += [(f"| {number} | ", ()), (text.replace("|", "/"), spans), (" |\n", ())]
    return _document(pieces)


def as_sections(documents: Sequence[Document], gold: Sequence[Spans]) -> tuple[Document, Spans]:
    """One document with a heading over each of `documents`."""
    pieces: list[Piece] = []
    for number, (document, spans) in enumerate(zip(documents, gold, strict=True), 1):
        pieces += [(f"## {document.title or number}\n\n", ()), (document.text, spans), ("\n\n", ())]
    return _document(pieces)


def _lines(text: str, gold: Spans) -> list[Piece]:
    """Each unit as one line."""
    found = []
    for unit in split(text):
        part, spans = part_of(Document(text), gold, unit.start, unit.end)
        if part.text:
            found.append((part.text.replace("\n", " "), spans))
    return found


def _document(pieces: Sequence[Piece]) -> tuple[Document, Spans]:
    found, at = [], 0
    for text, spans in pieces:
        found += [(at + start, at + end) for start, end in spans]
        at += len(text)
    text = "".join(text for text, _ in pieces).rstrip()
    return Document(text), merged((start, min(end, len(text))) for start, end in found)
