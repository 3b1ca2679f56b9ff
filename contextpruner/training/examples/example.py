"""One question to learn from or to be judged by, and its form in a file: a line of JSON.

    {"id", "question", "documents": [{"text", "title"?}], "gold": [[[start, end], ...] a document], "answerable",
     "language", "source", "group", "split", "licence", "form", "answer"}

Gold are characters and no units: whatever splitter cuts the documents later, a unit is gold where it shares a visible
character with one of these spans. `contextpruner calibrate` and `evaluate` read the same lines. What has one `group`
(a family of sets and the article in it) stands in one split.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contextpruner.documents.document import Document
from contextpruner.documents.files import read_lines
from contextpruner.documents.questions import QuestionLine, read_examples, read_questions

Spans = tuple[tuple[int, int], ...]
Split = Literal["train", "validation"]


@dataclass(frozen=True)
class TrainingExample:
    """A question, its documents, and for each of them the characters [start, end) that answer it."""

    id: str
    question: str
    documents: tuple[Document, ...]
    gold: tuple[Spans, ...]
    language: str
    source: str
    group: str
    split: Split = "train"
    licence: str = ""
    # words: how it is asked, in which form its documents stand, and "blind" where they were not seen
    form: str = "plain"
    # its text, where one is known
    answer: str = ""

    @property
    def is_answerable(self) -> bool:
        return any(self.gold)


def line_of(example: TrainingExample) -> str:
    """The line of JSON that stands for `example`."""
    documents = []
    for document in example.documents:
        title = {} if document.title is None else {"title": document.title}
        documents.append({**title, "text": document.text})
    said = {
        "id": example.id,
        "question": example.question,
        "documents": documents,
        "gold": example.gold,
        "answerable": example.is_answerable,
        "language": example.language,
        "source": example.source,
        "group": example.group,
        "split": example.split,
        "licence": example.licence,
        "form": example.form,
        "answer": example.answer,
    }
    return json.dumps(said, ensure_ascii=False)


def read_training_examples(path: Path | str) -> Iterator[TrainingExample]:
    """The examples of a file, one at a time; raises ValueError naming the line and the field."""
    yield from map(_example, read_questions(read_lines(str(path), sys.stdin.buffer)))


def _example(asked: QuestionLine) -> TrainingExample:
    gold = next(read_examples(iter([asked]))).gold
    names = ("id", "language", "source", "group", "split", "licence", "form", "answer")
    said = {name: _text(asked, name) for name in names if name in asked.others}
    return TrainingExample(
        question=asked.question,
        documents=tuple(asked.documents),
        gold=tuple(tuple((start, end) for start, end in spans) for spans in gold),
        **{"id": asked.place, "language": "", "source": "", "group": asked.place, **said},  # type: ignore[arg-type]
    )


def _text(asked: QuestionLine, name: str) -> str:
    value = asked.others[name]
    if not isinstance(value, str):
        raise ValueError(f"{asked.place}: {name} wants text, got {value!a:.80}")
    return value


def merged(spans: Iterable[Sequence[int]]) -> Spans:
    """`spans` in order, those that touch or overlap as one; empty ones are left out."""
    found: list[tuple[int, int]] = []
    for start, end in sorted((start, end) for start, end in spans if end > start):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)
