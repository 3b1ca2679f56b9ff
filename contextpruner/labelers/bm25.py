"""BM25 over units: Robertson et al. 1994, with Lucene's idf, in which no term counts against a unit.

    idf(t)  = ln(1 + (N - df + 0.5) / (df + 0.5))
    tf(t,u) = f / (f + k1 * (1 - b + b * |u| / mean |u|))
    S(u)    = sum over the question's terms of idf * tf,        best = max over units of S(u)
    probability(u) = S(u) / (best + 0.05 * sum of idf over terms that occur)  *  (best / sum of idf) ** 0.1

N, df and the mean length are those of all units of the call, so that a unit's number depends on its company, though not
on its order. The first factor makes numbers mean the same for every question: how near a unit comes to the question's
best one, a little less where even that covers little of what could be covered. The second says how much of the whole
question the best one covers, words that occur nowhere included: near 1 where documents speak of it, and far lower
where nothing is relevant; its power is small, for a question may be polite, or wrongly spelled, in many words. Both
numbers were chosen on XQuAD, SelQA and HotpotQA (docs/context_recall.md). Higher = more of the question; it is no
probability of relevance.

Each term of the question counts once, stop words ("who", "the", "please") not at all (`use_function_words` takes them
in). Words are compared by their stems (`use_stems`) where the language of the documents is known by its stop words or
its script. Without a rule a unit stays from `THRESHOLD` on: low, because what is lost here is lost to the reader. A
title is read as part of every unit of its document (`use_title`). A unit that has a word of the question also has
those of its headings, its header and its lead-in, at `LENT` of what they are worth there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contextpruner.documents.cache import Encoded
from contextpruner.labeler import Labeler, Labels
from contextpruner.labelers._stems import stems
from contextpruner.labelers._stop_words import language_of, question_terms
from contextpruner.labelers._unit_terms import TermsOfDocument, encode_terms, language_of_terms
from contextpruner.units.split import SplitDocument
from contextpruner.units.terms import terms
from contextpruner.units.unit import introduced_by

THRESHOLD = 0.2
# weights of what could be covered, and of how much of the question is
COVERABLE, COVERED = 0.05, 0.1
# what a word is worth that only a unit's heading, header or lead-in holds
LENT = 0.25


@dataclass(frozen=True)
class Bm25(Labeler):
    """The question's terms in a unit, rare ones first, divided by what all of them would give."""

    depends_on_batch: ClassVar[bool] = True

    k1: float = 1.2
    b: float = 0.75
    use_title: bool = True
    use_function_words: bool = False
    use_stems: bool = True

    def __post_init__(self) -> None:
        if not (0 <= self.k1 < math.inf and 0 <= self.b <= 1):
            raise ValueError(f"bm25 wants k1 >= 0 and b in [0, 1], got k1={self.k1} and b={self.b}")

    @property
    def default_threshold(self) -> float:
        return THRESHOLD

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        return self.label_encoded([question], documents, self.encode(documents))[0]

    def encode(self, documents: Sequence[SplitDocument]) -> list[Encoded]:
        return [encode_terms(document, self.use_title) for document in documents]

    def label_encoded(
        self, questions: Sequence[str], documents: Sequence[SplitDocument], encoded: Sequence[Encoded]
    ) -> list[Labels]:
        read = [*map(TermsOfDocument, encoded)]
        spoken = language_of_terms(read) if self.use_stems else None
        # where the documents do not tell, the question may
        languages = [spoken or language_of(terms(question)) if self.use_stems else None for question in questions]
        return [self._labels(*pair, documents, read) for pair in zip(questions, languages, strict=True)]

    def _labels(
        self,
        question: str,
        language: str | None,
        documents: Sequence[SplitDocument],
        read: Sequence[TermsOfDocument],
    ) -> Labels:
        wanted = terms(question) if self.use_function_words else question_terms(question)
        wanted = list(dict.fromkeys(stems(wanted, language)))
        lengths = np.concatenate([np.zeros(0), *(document.lengths for document in read)])
        counts = np.concatenate([np.zeros((0, len(wanted))), *(document.counts(wanted, language) for document in read)])
        if not len(lengths) or not wanted:
            return Labels.of_all_units(np.zeros(len(lengths), np.float32), documents)
        df = (counts > 0).sum(0)
        idf = np.log1p((len(lengths) - df + 0.5) / (df + 0.5))
        # a call without a single term has no mean length, and nothing to weigh
        norm = self.k1 * (1 - self.b + self.b * lengths / max(lengths.mean(), 1e-9))
        tf = np.divide(counts, counts + norm[:, None], out=np.zeros_like(counts), where=counts > 0)
        tf = _with_lent(tf, documents)
        # summed term by term: the same order, and so the same bits, whatever the company
        total = sum((tf[:, column] * idf[column] for column in range(len(wanted))), np.zeros(len(lengths)))
        # headers and fences, which hand nothing on, are no answers that others are measured by
        units = [unit for document in documents for unit in document.units]
        total[[not unit.competes and unit.introduces is None for unit in units]] = 0
        return Labels.of_all_units(_comparable(total, idf, df > 0), documents)


def _with_lent(tf: np.ndarray, documents: Sequence[SplitDocument]) -> np.ndarray:
    """`tf` [units, terms], where a unit with a word of its own has those of what introduces it for `LENT` of theirs."""
    lent = tf.copy()
    first = 0
    for document in documents:
        own = tf[first : first + len(document.units)]
        for number in np.flatnonzero(own.any(1)).tolist():
            introducing = list(introduced_by(document.units, number))
            if introducing:
                lent[first + number] = np.maximum(own[number], LENT * own[introducing].max(0))
        first += len(document.units)
    return lent


def _comparable(total: np.ndarray, idf: np.ndarray, occurs: np.ndarray) -> np.ndarray:
    """The sums `total` [units] on a scale that is the same for every question, float32 in [0, 1]."""
    best = total.max()
    if not best > 0:
        return np.zeros(len(total), np.float32)
    near = total / (best + COVERABLE * idf[occurs].sum())
    return np.minimum(near * (best / idf.sum()) ** COVERED, 1).astype(np.float32)
