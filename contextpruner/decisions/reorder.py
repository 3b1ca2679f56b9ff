"""Ranks: which documents and which units come first. No tie is decided by the order in which documents were given.

Documents go by their score, units by their probability. Of equal ones those of the longest document go first, of
documents as long those of the one whose title, text and id come first in the alphabet, and of one document the earlier;
only documents that are alike in everything go by their order.

With `mmr` units go by marginal relevance (Carbonell and Goldstein 1998): the next one has the largest

    mmr * probability(u) - (1 - mmr) * max over units v before it of sim(u, v)

where sim is the cosine of the labeler's vectors, or of the sets of terms where it has none. It grows with the square of
what is ranked: of the `MOST` most probable units; the others follow by their probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from contextpruner.documents.document import Document
from contextpruner.units.split import SplitDocument
from contextpruner.units.terms import terms

MOST = 1000


class Ranking(NamedTuple):
    """What a labeler says beside probabilities: float32 scores [documents], and perhaps vectors [units, d] of each."""

    scores: np.ndarray
    vectors: Sequence[np.ndarray] | None = None


def by_content(documents: Sequence[Document]) -> np.ndarray:
    """int64 [documents]: a number by what is in each document, the same for documents that are alike in everything."""
    keys = [(-len(one.text), one.title or "", one.text, str(one.id), one.format) for one in documents]
    places = {key: place for place, key in enumerate(sorted(set(keys)))}
    return np.array([places[key] for key in keys], dtype=np.int64)


def best_documents(scores: np.ndarray, documents: Sequence[Document]) -> list[int]:
    """The documents' places, best first."""
    return np.lexsort((by_content(documents), -scores.astype(np.float64))).tolist()


def ranked_units(documents: Sequence[SplitDocument], flat: np.ndarray, is_ranked: np.ndarray) -> np.ndarray:
    """The units that `is_ranked`, of all documents counted through, best first; `flat` [units] are probabilities."""
    sizes = [len(document.units) for document in documents]
    content = np.repeat(by_content([document.document for document in documents]), sizes)
    place = np.concatenate([np.arange(size) for size in sizes]) if sizes else np.zeros(0, np.int64)
    order = np.lexsort((place, content, -flat))
    return order[is_ranked[order]]


def by_marginal_relevance(
    ranked: np.ndarray, relevance: np.ndarray, weight: float, documents: Sequence[SplitDocument], ranking: Ranking
) -> np.ndarray:
    """`ranked`, best first, in the order of marginal relevance; `relevance` [units] is over all documents."""
    head, tail = ranked[:MOST], ranked[MOST:]
    vectors = _vectors(head, documents, ranking.vectors)
    left = np.ones(len(head), dtype=bool)
    nearest = np.zeros(len(head))
    order: list[int] = []
    while left.any():
        gain = np.where(left, weight * relevance[head] - (1 - weight) * nearest, -np.inf)
        # the first of equal ones is the one of the better rank
        best = int(gain.argmax())
        order.append(best)
        left[best] = False
        nearest = np.maximum(nearest, (vectors @ vectors[best]).clip(0))
    return np.concatenate([head[order], tail])


def _vectors(chosen: np.ndarray, documents: Sequence[SplitDocument], given: Sequence[np.ndarray] | None) -> np.ndarray:
    """Unit vectors of the `chosen` units [chosen, d], those given or of terms."""
    if given is not None:
        vectors = np.concatenate(given)[chosen].astype(np.float64)
    else:
        texts = [text for document in documents for text in document.texts]
        found = [set(terms(texts[unit])) for unit in chosen]
        column = {term: place for place, term in enumerate(sorted(set[str]().union(*found)))}
        vectors = np.zeros((len(found), len(column)), dtype=np.float32)
        for row, one in enumerate(found):
            vectors[row, [column[term] for term in one]] = 1
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
