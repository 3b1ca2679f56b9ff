"""Many passages, searchable by BM25 (Robertson et al. 1994, Lucene's idf) or by their embeddings.

    score(q, d) = sum over the terms t of q of ln(1 + (N - df + 0.5) / (df + 0.5)) * f / (f + k1 (1 - b + b |d| / mean))

    score(q, d) = cos(e(q), e(d))

Postings are two flat arrays, so that 100,000 passages take some 100 bytes a distinct term of a passage. Terms in over a
tenth of the passages are not looked up: they cost the most and say the least. Vectors are searched exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from contextpruner.units.terms import terms

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

K1, B = 1.2, 0.75
# terms of more passages than this are passed over, but never where there are few passages
MOST_COMMON, FEW = 0.1, 50


class PassageIndex:
    """The passages `texts`, searchable."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.size = len(texts)
        self._numbers: dict[str, int] = {}
        own, documents, counts = [], [], []
        lengths = np.zeros(max(len(texts), 1))
        for number, text in enumerate(texts):
            found = Counter(terms(text))
            lengths[number] = sum(found.values())
            own.append(np.array([self._numbers.setdefault(term, len(self._numbers)) for term in found], np.int32))
            documents.append(np.full(len(found), number, np.int32))
            counts.append(np.array([*found.values()], np.float32))
        term, document = (
            np.concatenate([np.zeros(0, np.int32), *own]),
            np.concatenate([np.zeros(0, np.int32), *documents]),
        )
        order = np.argsort(term, kind="stable")
        self._document = document[order]
        count = np.concatenate([np.zeros(0, np.float32), *counts])[order]
        norm = (K1 * (1 - B + B * lengths / max(lengths.mean(), 1e-9))).astype(np.float32)
        self._weight = count / (count + norm[self._document])
        self._start = np.searchsorted(term[order], np.arange(len(self._numbers) + 1))

    def search(self, question: str, most: int) -> list[int]:
        """Up to `most` passages with a term of `question`, the best first, ties to the earlier."""
        scores = np.zeros(self.size, np.float32)
        for term in dict.fromkeys(terms(question)):
            number = self._numbers.get(term)
            if number is None:
                continue
            where = slice(self._start[number], self._start[number + 1])
            df = where.stop - where.start
            if df <= max(FEW, MOST_COMMON * self.size):
                scores[self._document[where]] += self._weight[where] * np.log1p((self.size - df + 0.5) / (df + 0.5))
        found = np.flatnonzero(scores)
        if len(found) > most:
            found = found[np.argpartition(-scores[found], most)[:most]]
        return found[np.lexsort((found, -scores[found]))].tolist()


class VectorIndex:
    """The passages `texts`, searchable by what `encoder` makes of them; what is too long is known by its beginning."""

    def __init__(self, encoder: SentenceTransformer, texts: Sequence[str]) -> None:
        self._encoder = encoder
        options = {"normalize_embeddings": True, "show_progress_bar": False}
        self._vectors = encoder.encode_document([*texts], **options) if texts else np.zeros((0, 1), np.float32)

    def search(self, question: str, most: int) -> list[int]:
        """Up to `most` passages, the nearest to `question` first, ties to the earlier."""
        if not len(self._vectors):
            return []
        asked = self._encoder.encode_query([question], normalize_embeddings=True, show_progress_bar=False)[0]
        scores = self._vectors @ asked
        found = np.arange(len(scores))
        if len(found) > most:
            found = np.argpartition(-scores, most)[:most]
        return found[np.lexsort((found, -scores[found]))].tolist()
