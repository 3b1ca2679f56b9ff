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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contextpruner.labeler import Labeler, Labels
from contextpruner.labelers._stop_words import without_stop_words
from contextpruner.units.split import SplitDocument
from contextpruner.units.terms import terms

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
        wanted = wanted if self.use_function_words else without_stop_words(wanted)
        lengths, counts = self._counted(documents, wanted)
        if not len(lengths) or not wanted:
            return Labels.of_all_units(np.zeros(len(lengths), np.float32), documents)
        df = (counts > 0).sum(0)
        idf = np.log1p((len(lengths) - df + 0.5) / (df + 0.5))
        # a call without a single term has no mean length, and nothing to weigh
        norm = self.k1 * (1 - self.b + self.b * lengths / max(lengths.mean(), 1e-9))
        tf = np.divide(counts, counts + norm[:, None], out=np.zeros_like(counts), where=counts > 0)
        # summed term by term: the same order, and so the same bits, whatever the company
        total = sum(tf[:, column] * idf[column] for column in range(len(wanted)))
        probability = np.minimum(total / idf.sum(), 1).astype(np.float32)
        return Labels.of_all_units(probability, documents)

    def _counted(self, documents: Sequence[SplitDocument], wanted: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """How many terms each unit has, and how often each wanted one: float64 [units] and [units, wanted]."""
        column = {term: place for place, term in enumerate(wanted)}
        lengths: list[int] = []
        hits: list[int] = []
        for document in documents:
            title = terms(document.document.title or "") if self.use_title else []
            titled = [column[term] for term in title if term in column]
            for text in document.texts:
                found = terms(text)
                first = len(lengths) * len(wanted)
                hits += [first + place for place in titled]
                hits += [first + column[term] for term in found if term in column]
                lengths.append(len(title) + len(found))
        counts = np.bincount(np.array(hits, dtype=np.int64), minlength=len(lengths) * len(wanted))
        return np.array(lengths, dtype=np.float64), counts.reshape(len(lengths), len(wanted)).astype(np.float64)
