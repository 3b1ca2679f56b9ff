"""Passages that look like an answer and are none: what BM25 finds for a question in other articles, or in its own.

A passage that holds the answer's text is none, nor is one of the question's own documents. Where a question comes
without the text of an answer, only other articles are searched.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable

from contextpruner.documents.document import Document
from contextpruner.training.examples.passage_index import PassageIndex
from contextpruner.training.examples.row_forms import AskedRow
from contextpruner.training.recipe import Source

# best passages that one is drawn from: not always the very first, which answers most often without being marked
SEARCHED, DRAWN = 20, 5
# nobody retrieves a longer one
MOST_CHARACTERS = 3000


class Passages:
    """All documents that are learnt from, by language and by article."""

    def __init__(self, rows: Iterable[tuple[Source, AskedRow]]) -> None:
        self._texts: dict[str, dict[str, tuple[Document, str]]] = defaultdict(dict)
        for source, row in rows:
            for document in row.documents:
                if 0 < len(document.text) <= MOST_CHARACTERS:
                    article = f"{source.family}:{row.article}"
                    self._texts[source.language].setdefault(document.text, (document, article))
        self._indexes: dict[str, PassageIndex] = {}
        self._listed = {language: [*texts.values()] for language, texts in self._texts.items()}
        self._of_article: dict[str, list[Document]] = defaultdict(list)
        for texts in self._listed.values():
            for document, article in texts:
                self._of_article[article].append(document)

    def other(self, source: Source, row: AskedRow, draw: random.Random) -> Document | None:
        """A passage of another article, one of the best for the question; None where there is none."""
        listed = self._listed.get(source.language, [])
        if source.language not in self._indexes:
            self._indexes[source.language] = PassageIndex([document.text for document, _ in listed])
        own = f"{source.family}:{row.article}"
        found = []
        for number in self._indexes[source.language].search(row.question, SEARCHED):
            document, article = listed[number]
            if article != own and not _answers(document, row):
                found.append(document)
        return draw.choice(found[:DRAWN]) if found else None

    def of_same_article(self, source: Source, row: AskedRow, draw: random.Random) -> Document | None:
        """Another passage of the article that the question was asked about."""
        if not row.answer:
            return None
        texts = {document.text for document in row.documents}
        there = self._of_article[f"{source.family}:{row.article}"]
        found = [document for document in there if document.text not in texts and not _answers(document, row)]
        return draw.choice(found) if found else None


def _answers(document: Document, row: AskedRow) -> bool:
    return bool(row.answer) and row.answer.casefold() in document.text.casefold()
