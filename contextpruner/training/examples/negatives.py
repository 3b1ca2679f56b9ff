"""Passages that look like an answer and are none: found for a question in other articles by BM25 or by embeddings.

A passage that holds the answer's text is none, nor is one of the question's own documents. Where a question comes
without the text of an answer, only other articles are searched. Embeddings find what means the same in other words:
they are asked for `embedded_negatives` of the negatives, with the sentence-transformers model `negative_model`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable

from contextpruner.documents.document import Document
from contextpruner.models.sentence_transformer import load_sentence_transformer
from contextpruner.training.examples.passage_index import PassageIndex, VectorIndex
from contextpruner.training.examples.row_forms import AskedRow
from contextpruner.training.recipe import Source

# best passages that one is drawn from: not always the very first, which answers most often without being marked
SEARCHED, DRAWN = 20, 5
# nobody retrieves a longer one
MOST_CHARACTERS = 3000


class Passages:
    """All documents that are learnt from, by language and by article; `model` is for embeddings."""

    def __init__(self, rows: Iterable[tuple[Source, AskedRow]], model: str = "") -> None:
        self._encoder = load_sentence_transformer(model) if model else None
        self._texts: dict[str, dict[str, tuple[Document, str]]] = defaultdict(dict)
        for source, row in rows:
            for document in row.documents:
                if 0 < len(document.text) <= MOST_CHARACTERS:
                    article = f"{source.family}:{row.article}"
                    self._texts[source.language].setdefault(document.text, (document, article))
        self._indexes: dict[tuple[str, bool], PassageIndex | VectorIndex] = {}
        self._listed = {language: [*texts.values()] for language, texts in self._texts.items()}
        self._of_article: dict[str, list[Document]] = defaultdict(list)
        for texts in self._listed.values():
            for document, article in texts:
                self._of_article[article].append(document)

    def other(self, source: Source, row: AskedRow, draw: random.Random, embedded: bool = False) -> Document | None:
        """A passage of another article, one of the best for the question; None where there is none."""
        listed = self._listed.get(source.language, [])
        own = f"{source.family}:{row.article}"
        found = []
        for number in self._index(source.language, embedded).search(row.question, SEARCHED):
            document, article = listed[number]
            if article != own and not _answers(document, row):
                found.append(document)
        return draw.choice(found[:DRAWN]) if found else None

    def _index(self, language: str, embedded: bool) -> PassageIndex | VectorIndex:
        """That of a language's passages, made when it is first asked for."""
        if (language, embedded) not in self._indexes:
            texts = [document.text for document, _ in self._listed.get(language, [])]
            made = VectorIndex(self._encoder, texts) if embedded and self._encoder else PassageIndex(texts)
            self._indexes[language, embedded] = made
        return self._indexes[language, embedded]

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
