"""Rows of published question sets, read as what they ask: one function for each form of a row.

A row gives what it asks (`AskedRow`), or several where it asks several things.

    offsets            one text and the character at which the answer starts; perhaps marked spans ("gold")
    sentences          candidates, which one text is made of, and which of them answer
    passages           candidates, each a document ("title: text"), and which of them answer
    supporting_facts   paragraphs with titles, and (title, sentence) pairs that answer
    meetings           turns of a meeting and several questions about it
    answers            texts and answers, without where these stand: gold are the sentences that hold one
    examples           our own lines (`example`), as `contextpruner label` writes them
"""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from contextpruner.documents.document import Document
from contextpruner.training.examples.example import Spans, merged
from contextpruner.training.examples.weak_labels import inclusion
from contextpruner.units.split import split

Row = dict  # a line of somebody's file
OPENERS: dict[str, Callable[..., TextIO]] = {"": open, ".gz": gzip.open, ".xz": lzma.open}
# a numbered article has no title that a reader would see
NUMBERED = ("page ", "train ", "dev ", "test ")
JSQUAD = " [SEP] "


@dataclass(frozen=True)
class AskedRow:
    """What a row asks: `answer` is its text where one is known, `article` what it was taken from."""

    id: str
    question: str
    documents: tuple[Document, ...]
    gold: tuple[Spans, ...]
    article: str
    answer: str = ""


def offsets(row: Row) -> Iterator[AskedRow]:
    """Gold are the marked spans, or else the answer and what other annotators marked; none where nothing answers."""
    answers = [(row["answer_start"], row["answer"]), *row.get("more", ())]
    spans = row.get("gold") or [(start, start + len(text)) for start, text in answers if start >= 0 and text]
    text, title = row["context"], _title(str(row["article"]))
    head, mark, rest = text.partition(JSQUAD)
    if mark and len(head) < 80:
        # the title stands before the text there
        text, title, cut = rest, head, len(head) + len(mark)
        spans = [(max(start - cut, 0), end - cut) for start, end in spans]
    gold = merged(spans)
    # what only the title answers is no example of either kind
    if gold or not row["answer"]:
        document = Document(text, title=title)
        yield AskedRow(str(row["id"]), row["question"], (document,), (gold,), str(row["article"]), row["answer"])


def sentences(row: Row) -> Iterator[AskedRow]:
    """One text of all candidates, joined by spaces."""
    text, spans = joined(row["candidates"], " ")
    gold = merged(spans[number] for number in row["answers"])
    article = str(row.get("article", row["question"]))
    document = Document(text, title=_title(article))
    yield AskedRow(_id(row), row["question"], (document,), (gold,), article)


def passages(row: Row) -> Iterator[AskedRow]:
    """Every candidate is a document of its own, gold as a whole or not at all."""
    documents, gold = [], []
    for number, candidate in enumerate(row["candidates"]):
        title, mark, text = candidate.partition(": ")
        if not mark or len(title) > 100:
            title, text = "", candidate
        documents.append(Document(text, title=title or None))
        gold.append(((0, len(text)),) if number in row["answers"] and text else ())
    yield AskedRow(_id(row), row["question"], tuple(documents), tuple(gold), _id(row), row["answer"])


def supporting_facts(row: Row) -> Iterator[AskedRow]:
    """Paragraphs with titles; gold are sentences in several of them."""
    facts = {*zip(row["supporting_facts"]["title"], row["supporting_facts"]["sent_id"], strict=True)}
    documents, gold = [], []
    for title, own in zip(row["context"]["title"], row["context"]["sentences"], strict=True):
        text, spans = joined(own, "" if any(part.startswith(" ") for part in own[1:]) else " ")
        documents.append(Document(text, title=title))
        gold.append(merged(span for number, span in enumerate(spans) if (title, number) in facts))
    yield AskedRow(_id(row), row["question"], tuple(documents), tuple(gold), _id(row), row["answer"])


def meetings(row: Row) -> Iterator[AskedRow]:
    """A meeting is one document, a turn a line."""
    text, spans = joined(row["candidates"], "\n")
    article = str(row["article"])
    for number, asked in enumerate(row["questions"]):
        gold = merged(spans[turn] for turn in asked["answers"])
        yield AskedRow(f"{article}-{number}", asked["question"], (Document(text),), (gold,), article)


def answers(row: Row) -> Iterator[AskedRow]:
    """Gold are the units that hold an answer (`weak_labels`)."""
    documents = tuple(Document(text) for text in row["documents"])
    gold = []
    for document in documents:
        units = split(document.text)
        holds = inclusion([document.text[unit.start : unit.end] for unit in units], row["answers"])
        gold.append(merged((unit.start, unit.end) for unit, is_gold in zip(units, holds, strict=True) if is_gold))
    yield AskedRow(
        _id(row), row["question"], documents, tuple(gold), str(row.get("article", _id(row))), row["answers"][0]
    )


def examples(row: Row) -> Iterator[AskedRow]:
    """As they are; the group is the article."""
    documents = tuple(Document(one["text"], title=one.get("title")) for one in row["documents"])
    gold = tuple(merged(spans) for spans in row["gold"])
    article, answer = str(row.get("group", _id(row))), str(row.get("answer", ""))
    yield AskedRow(_id(row), row["question"], documents, gold, article, answer)


FORMS: dict[str, Callable[[Row], Iterator[AskedRow]]] = {
    "offsets": offsets,
    "sentences": sentences,
    "passages": passages,
    "supporting_facts": supporting_facts,
    "meetings": meetings,
    "answers": answers,
    "examples": examples,
}


def read_rows(path: Path, form: str) -> Iterator[AskedRow]:
    """What the rows of a file ask: JSON lines, plain, .gz or .xz; raises ValueError naming the line."""
    opener = OPENERS[path.suffix if path.suffix in OPENERS else ""]
    with opener(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield from FORMS[form](json.loads(line))
            except (KeyError, TypeError, IndexError, ValueError) as error:
                raise ValueError(f"{path}:{number}: want a row of the form {form}: {error!r:.200}") from error


def joined(parts: Sequence[str], glue: str) -> tuple[str, list[tuple[int, int]]]:
    """The text of all `parts`, and where each of them stands in it."""
    spans, pieces, at = [], [], 0
    for number, part in enumerate(parts):
        pieces += [glue, part] if number else [part]
        at += len(glue) if number else 0
        spans.append((at, at + len(part)))
        at += len(part)
    return "".join(pieces), spans


def _title(article: str) -> str | None:
    return None if article.isdigit() or article.startswith(NUMBERED) else article


def _id(row: Row) -> str:
    return str(row.get("id", row["question"]))
