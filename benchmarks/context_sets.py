"""Question sets with gold at the sentence: XQuAD, SelQA, HotpotQA and others of XQuAD's form, read from JSON lines.

Each question becomes an `Example`: its documents, and in each of them the characters that answer it. Units are
those of our own splitter, as in use; a unit is gold where it shares a letter with a gold span.
"""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from contextpruner import Document, Example

Row = dict  # a line of somebody's file


def xquad(row: Row) -> Example:
    """One text; gold are the spans that are marked, or else the sentence that holds the answer, if there is one."""
    start = row["answer_start"]
    spans = row.get("gold") or [(start, start + len(row["answer"]))]
    return Example(row["question"], [row["context"]], [[(begin, end) for begin, end in spans if begin >= 0]])


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


OPENERS: dict[str, Callable[..., TextIO]] = {"": open, ".gz": gzip.open, ".xz": lzma.open}
# by the folder of a set; others are in the form of XQuAD
READERS: dict[str, Callable[[Row], Example]] = {"selqa": selqa, "hotpotqa": hotpotqa}


def read(path: Path) -> Iterator[Example]:
    """The questions of a file in a folder of its set's name; those without an answer in the text are left out."""
    reader = READERS.get(path.parent.name, xquad)
    with _opened(path) as file:
        for line in file:
            example = reader(json.loads(line))
            if any(example.gold):
                yield example


def find(folder: Path, name: str) -> Path:
    """The file of a set such as "xquad/en": JSON lines, plain, .gz or .xz; raises ValueError where there is none."""
    paths = [folder / f"{name}.jsonl{suffix}" for suffix in OPENERS]
    for path in paths:
        if path.is_file():
            return path
    raise ValueError(f"want {' or '.join(map(str, paths))}, got none of them")


def _opened(path: Path) -> TextIO:
    return OPENERS[path.suffix if path.suffix in OPENERS else ""](path, "rt", encoding="utf-8")


def _joined(sentences: list[str], glue: str) -> tuple[list[tuple[int, int]], str]:
    """Where each sentence stands in the text of all of them."""
    spans, text = [], ""
    for sentence in sentences:
        text += glue if text else ""
        spans.append((len(text), len(text) + len(sentence)))
        text += sentence
    return spans, text
