"""Citations: every kept unit has a label that a language model can quote and that leads back to its characters.

    [2.5]   the fifth unit of the second document, both counted from 1

`cited` gives a result's kept texts with a label in front of each unit; `find` takes the labels out of an answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from contextpruner.documents.document import Id
from contextpruner.results.result import PrunedDocument, Result, titled
from contextpruner.units.join import with_line_breaks

LABEL = re.compile(r"\[(\d{1,9})\.(\d{1,9})\]")


@dataclass(frozen=True)
class Citation:
    """A unit by its label: the characters [start, end) of document `document` (from 0), as a reader sees them."""

    label: str
    document: int
    id: Id
    title: str | None
    start: int
    end: int
    text: str


def citations(result: Result) -> list[Citation]:
    """All kept units that are more than white space, in order."""
    found = []
    for number, document in enumerate(result.documents):
        for place, span in enumerate(document.spans):
            text = document.shown(span)
            if span.kept and text.strip():
                label = _label(number, place)
                found.append(Citation(label, number, document.id, document.title, span.start, span.end, text))
    return found


def cited(result: Result, titles: bool = False) -> str:
    """The kept text of all documents, each unit behind its label, a blank line between documents.

    With `titles` each document stands under its own.
    """
    texts = [_cited(number, document) for number, document in enumerate(result.documents)]
    if titles:
        texts = [titled(document, text) for document, text in zip(result.documents, texts, strict=True)]
    return "\n\n".join(text for text in texts if text)


def find_citations(result: Result, answer: str) -> list[Citation]:
    """The units that `answer` cites as [2.5], each once, in the order of the answer; others' labels are passed over."""
    known = {item.label: item for item in citations(result)}
    labels = dict.fromkeys(f"{int(one)}.{int(two)}" for one, two in LABEL.findall(answer))
    return [known[label] for label in labels if label in known]


def _cited(number: int, document: PrunedDocument) -> str:
    parts = []
    texts, kept = map(document.shown, document.spans), (span.kept for span in document.spans)
    for place, (breaks, text, is_kept) in enumerate(with_line_breaks(texts, kept)):
        if is_kept and text.strip():
            # the label goes behind the white space at the head of a unit, so that lines and lists stay as they are
            head = len(text) - len(text.lstrip())
            parts.append(f"{breaks}{text[:head]}[{_label(number, place)}] {text[head:]}")
    return "".join(parts).rstrip()


def _label(number: int, place: int) -> str:
    return f"{number + 1}.{place + 1}"
