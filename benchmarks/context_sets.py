"""Question sets with gold at the sentence: XQuAD, SelQA and HotpotQA, read from JSON lines.

Each question becomes an `Example`: its documents, and in each of them the characters that answer it. Units are
those of our own splitter, as in use; a unit is gold where it shares a letter with a gold span.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from contextpruner import Document, Example

Row = dict  # a line of somebody's file


def xquad(row: Row) -> Example:
    """One paragraph; gold is the sentence that holds the answer."""
    start = row["answer_start"]
    return Example(row["question"], [row["context"]], [[(start, start + len(row["answer"]))]])


def selqa(row: Row) -> Example:
    """One section, its sentences joined by spaces; gold are the sentences named."""
    spans, text = _joined(row["candidates"], " ")
    return Example(row["question"], [text], [[spans[number] for number in row["answers"]]])


def hotpotqa(row: Row) -> Example:
    """Ten paragraphs with titles; gold are the supporting facts, mostly in two of them."""
    facts = set(zip(row["supporting_facts"]["title"], row["supporting_facts"]["sent_id"], strict=True))
    documents, gold = [], []
    for title, sentences in zip(row["context"]["title"], row["context"]["sentences"], strict=True):
        spans, text = _joined(sentences, "")
        documents.append(Document(text, title=title))
        gold.append([span for number, span in enumerate(spans) if (title, number) in facts])
    return Example(row["question"], documents, gold)


READERS: dict[str, Callable[[Row], Example]] = {"xquad": xquad, "selqa": selqa, "hotpotqa": hotpotqa}


def read(path: Path) -> Iterator[Example]:
    """The questions of a file in a folder of its set's name; those without an answer in the text are left out."""
    reader = READERS[path.parent.name]
    with open(path, encoding="utf-8") as file:
        for line in file:
            example = reader(json.loads(line))
            if any(example.gold):
                yield example


def _joined(sentences: list[str], glue: str) -> tuple[list[tuple[int, int]], str]:
    """Where each sentence stands in the text of all of them."""
    spans, text = [], ""
    for sentence in sentences:
        text += glue if text else ""
        spans.append((len(text), len(text) + len(sentence)))
        text += sentence
    return spans, text
