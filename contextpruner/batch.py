"""Many questions from a JSONL file: one result a line, in order, the file whole or absent.

A line is {"question": ..., "documents": [text or {"text", "id", "title", "format"}, ...]}; other fields are passed on
under "given". A line without documents is asked of the documents that all lines share. Lines are read, pruned and
written one at a time, so that memory does not grow with their number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contextpruner.calibration import Example
from contextpruner.document import Document, check_text
from contextpruner.files import Lines, parse_line, record
from contextpruner.policy import Policy
from contextpruner.pruner import ContextPruner


@dataclass(frozen=True)
class Asked:
    """One line: where it stands, its question, its documents, and the fields that are not ours."""

    place: str
    question: str
    documents: list[Document]
    others: dict[str, object]


def read(lines: Lines, shared: Sequence[Document] = ()) -> Iterator[Asked]:
    """The questions of `lines`; raises ValueError naming the line and the field."""
    for place, line in lines:
        held = parse_line(place, line)
        question, given = held.pop("question", None), held.pop("documents", None)
        if not isinstance(question, str) or not question.strip():
            raise ValueError(f"{place}: question wants a string that is not empty, got {question!r}")
        if given is None and not shared:
            raise ValueError(f"{place}: want documents in the line, or files that all lines share")
        if given is not None and (not isinstance(given, list) or not given):
            raise ValueError(f"{place}: documents wants a list that is not empty, got {type(given).__name__}")
        documents = list(shared)
        if given is not None:
            items = [{"text": item} if isinstance(item, str) else item for item in given]
            documents = [record(f"{place}, document {number}", item) for number, item in enumerate(items)]
        _check_others(place, held)
        yield Asked(place, question, documents, held)


def _check_others(place: str, held: dict[str, object]) -> None:
    """The fields that are not ours are written as they came: refuse what is no text, or no number, of JSON."""
    names = f"{place}: one of {', '.join(map(ascii, held))}"
    try:
        text = json.dumps(held, ensure_ascii=False, allow_nan=False)
    except ValueError:
        # 1e999 is read as infinity
        raise ValueError(f"{names} holds a number that is too large") from None
    check_text(names, text)


def prune(pruner: ContextPruner, asked: Iterator[Asked], policy: Policy) -> Iterator[str]:
    """One line of JSON for each question."""
    for item in asked:
        try:
            result = pruner.prune(item.question, item.documents, policy)
        except ValueError as error:
            raise ValueError(f"{item.place}: {error}") from error
        given = {"given": item.others} if item.others else {}
        yield json.dumps(result.to_dict() | given, ensure_ascii=False) + "\n"


def examples(asked: Iterator[Asked]) -> Iterator[Example]:
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
