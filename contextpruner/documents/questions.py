"""Many questions from a JSONL file, read one at a time, so that memory does not grow with their number.

A line is {"question": ..., "documents": [text or {"text", "id", "title", "format"}, ...]}; other fields are passed on.
A line without documents is asked of the documents that all lines share. Where the answers are known, a line has "gold"
too: for each document a list of [start, end).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contextpruner.documents.document import Document, HasText
from contextpruner.documents.files import Lines, document_from_json, parse_line


@dataclass(frozen=True)
class Example:
    """A question, its documents, and for each of them the characters [start, end) that answer it."""

    question: str
    documents: Sequence[str | HasText]
    gold: Sequence[Sequence[tuple[int, int]]]


@dataclass(frozen=True)
class QuestionLine:
    """One line: where it stands, its question, its documents, and the fields that are not ours."""

    place: str
    question: str
    documents: list[Document]
    others: dict[str, object]


def read_questions(lines: Lines, shared: Sequence[Document] = ()) -> Iterator[QuestionLine]:
    """The questions of `lines`; raises ValueError naming the line and the field."""
    for place, line in lines:
        held = parse_line(place, line)
        question, given = held.pop("question", None), held.pop("documents", None)
        if not isinstance(question, str) or not question.strip():
            raise ValueError(f"{place}: question wants a string that is not empty, got {question!a:.80}")
        if given is None and not shared:
            raise ValueError(f"{place}: want documents in the line, or files that all lines share")
        if given is not None and (not isinstance(given, list) or not given):
            raise ValueError(f"{place}: documents wants a list that is not empty, got {type(given).__name__}")
        documents = list(shared)
        if given is not None:
            items = [{"text": item} if isinstance(item, str) else item for item in given]
            documents = [document_from_json(f"{place}, document {number}", item) for number, item in enumerate(items)]
        yield QuestionLine(place, question, documents, held)


def read_examples(asked: Iterator[QuestionLine]) -> Iterator[Example]:
    """Questions whose lines have `gold`: for each document a list of [start, end)."""
    for item in asked:
        gold = item.others.get("gold")
        fits = isinstance(gold, list) and len(gold) == len(item.documents)
        if not isinstance(gold, list) or not fits or not all(_is_spans(spans) for spans in gold):
            raise ValueError(f"{item.place}: gold wants a list of [start, end] for each of the documents")
        yield Example(item.question, item.documents, [[(start, end) for start, end in spans] for spans in gold])


def _is_spans(spans: object) -> bool:
    if not isinstance(spans, list):
        return False
    pairs = [pair for pair in spans if isinstance(pair, list) and len(pair) == 2]
    return len(pairs) == len(spans) and all(type(edge) is int for pair in pairs for edge in pair)
