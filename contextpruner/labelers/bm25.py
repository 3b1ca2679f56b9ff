"""BM25 over units: Robertson et al. 1994, with Lucene's idf, in which no term counts against a unit.

    idf(t)  = ln(1 + (N - df + 0.5) / (df + 0.5))
    tf(t,u) = f / (f + k1 * (1 - b + b * |u| / mean |u|))
    probability(u) = sum over the question's terms of idf * tf  /  sum over the question's terms of idf

N, df and the mean length are those of all units of the call, so that a unit's number depends on its company,
though not on its order. Each term of the question counts once, function words ("who", "the") not at all: in a few
documents they are as rare as any other (`use_function_words` takes them in). tf is below 1, so that the quotient is in
[0, 1): the share of the question that a unit covers, weighted by rarity. Higher = more of the question; it is
no probability of relevance. Without a rule a unit stays from `THRESHOLD` on: low, because what is lost here is lost to
the reader (benchmarks/context_recall.py has recall and what is kept at it). A title is read as part of every unit of
its document (`use_title`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contextpruner.document import SplitDocument
from contextpruner.function_words import content_words
from contextpruner.labeler import Labeler, Labels
from contextpruner.terms import terms

THRESHOLD = 0.05


@dataclass(frozen=True)
class Bm25(Labeler):
    """The question's terms in a unit, rare ones first, divided by what all of them would give."""

    depends_on_batch: ClassVar[bool] = True

    k1: float = 1.2
    b: float = 0.75
    use_title: bool = True
    use_function_words: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.k1 < math.inf and 0 <= self.b <= 1):
            raise ValueError(f"bm25 wants k1 >= 0 and b in [0, 1], got k1={self.k1} and b={self.b}")

    @property
    def default_threshold(self) -> float:
        return THRESHOLD

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        wanted = list(dict.fromkeys(terms(question)))
        wanted = wanted if self.use_function_words else content_words(wanted)
        units = [self._terms(document) for document in documents]
        everything = [unit for document in units for unit in document]
        if not everything or not wanted:
            return Labels.best_unit([np.zeros(len(document), np.float32) for document in units])
        lengths = np.array([len(unit) for unit in everything], dtype=np.float64)
        counts = self._counts(everything, wanted)
        df = (counts > 0).sum(0)
        idf = np.log1p((len(everything) - df + 0.5) / (df + 0.5))
        # a call without a single term has no mean length, and nothing to weigh
        norm = self.k1 * (1 - self.b + self.b * lengths / max(lengths.mean(), 1e-9))
        tf = np.divide(counts, counts + norm[:, None], out=np.zeros_like(counts), where=counts > 0)
        # summed term by term: the same order, and so the same bits, whatever the company
        total = sum(tf[:, column] * idf[column] for column in range(len(wanted)))
        probability = np.minimum(total / idf.sum(), 1).astype(np.float32)
        edges = np.cumsum([len(document) for document in units])[:-1]
        return Labels.best_unit(np.split(probability, edges))

    def _terms(self, document: SplitDocument) -> list[list[str]]:
        title = terms(document.document.title or "") if self.use_title else []
        return [title + terms(text) for text in document.texts]

    @staticmethod
    def _counts(units: list[list[str]], wanted: list[str]) -> np.ndarray:
        """How often each wanted term stands in each unit: float64 [units, terms]."""
        known = set(wanted)
        rows = [Counter(term for term in unit if term in known) for unit in units]
        return np.array([[row[term] for term in wanted] for row in rows], dtype=np.float64)
