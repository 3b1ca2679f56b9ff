"""The terms of a document as arrays: its vocabulary, and which of its words each unit holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contextpruner.documents.cache import Encoded
from contextpruner.labelers._stems import stems
from contextpruner.labelers._stop_words import language_of
from contextpruner.units.split import SplitDocument
from contextpruner.units.terms import terms

# units and terms of a unit that say which language a text is in
UNITS_READ, TERMS_READ = 8, 50


def encode_terms(document: SplitDocument, use_title: bool) -> Encoded:
    """The vocabulary as UTF-8, a term a line; its numbers, int32 [terms], unit after unit, and where each ends.

    The terms of the title come first, as a unit of their own.
    """
    title = document.document.title if use_title else None
    found = [terms(text) for text in (title or "", *document.texts)]
    number: dict[str, int] = {}
    words = [number.setdefault(term, len(number)) for unit in found for term in unit]
    return {
        "vocabulary": np.frombuffer("\n".join(number).encode(), dtype=np.uint8),
        "words": np.array(words, dtype=np.int32),
        "ends": np.cumsum([len(unit) for unit in found], dtype=np.int64),
    }


class TermsOfDocument:
    """What `encode_terms` gave, ready to be counted."""

    def __init__(self, encoded: Encoded) -> None:
        text = encoded["vocabulary"].tobytes().decode()
        self.vocabulary = text.split("\n") if text else []
        self.words, ends = encoded["words"], encoded["ends"]
        self.sizes = np.diff(ends, prepend=0)
        self.unit = np.repeat(np.arange(len(ends)), self.sizes)
        # terms of each unit, those of the title among them
        self.lengths = (self.sizes[1:] + self.sizes[0]).astype(np.float64)
        self.stemmed: dict[str | None, dict[str, list[int]]] = {}

    def counts(self, wanted: Sequence[str], language: str | None) -> np.ndarray:
        """How often each unit has each stem of `wanted`, float64 [units, wanted]."""
        columns = np.full(len(self.vocabulary) + 1, -1)
        for column, stem in enumerate(wanted):
            columns[self._by_stem(language).get(stem, [])] = column
        found = columns[self.words]
        hits = self.unit[found >= 0] * len(wanted) + found[found >= 0]
        counts = np.bincount(hits, minlength=len(self.sizes) * len(wanted)).reshape(len(self.sizes), len(wanted))
        return (counts[1:] + counts[0]).astype(np.float64)

    def beginnings(self) -> list[str]:
        """The first terms of its first units."""
        begins = np.cumsum(self.sizes) - self.sizes
        units = list(zip(begins, self.sizes, strict=True))[1 : UNITS_READ + 1]
        return [self.vocabulary[word] for at, size in units for word in self.words[at : at + min(size, TERMS_READ)]]

    def _by_stem(self, language: str | None) -> dict[str, list[int]]:
        """The numbers of the terms of each stem."""
        if language not in self.stemmed:
            numbers: dict[str, list[int]] = {}
            for number, stem in enumerate(stems(self.vocabulary, language)):
                numbers.setdefault(stem, []).append(number)
            self.stemmed[language] = numbers
        return self.stemmed[language]


def language_of_terms(documents: Sequence[TermsOfDocument]) -> str | None:
    """The language of the documents, by their beginnings; None where they do not tell."""
    return language_of([word for document in documents for word in document.beginnings()])
