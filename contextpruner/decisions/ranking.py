"""The order of the units of all documents, the most probable first; ties hang on nothing but what is in the documents.

Of units that are as probable those of the longest document go first, of documents as long those of the one whose title,
text and id come first in the alphabet, and of one document the earlier: so that the order in which documents are given
changes nothing. Only among equal documents the one that was given earlier goes first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contextpruner.units.split import SplitDocument


def ranked(documents: Sequence[SplitDocument], probabilities: np.ndarray) -> np.ndarray:
    """Indices of all units, counted through, int64 [units]; `probabilities` float [units]."""
    sizes = [len(document.units) for document in documents]
    place = np.concatenate([np.arange(size) for size in sizes]) if sizes else np.zeros(0, np.int64)
    order = sorted(range(len(documents)), key=lambda index: _name(documents[index]))
    rank = np.zeros(len(documents), np.int64)
    rank[order] = np.arange(len(documents))
    return np.lexsort((place, np.repeat(rank, sizes), -probabilities))


def _name(document: SplitDocument) -> tuple[int, str, str, str]:
    source = document.document
    return -len(source.text), source.title or "", source.text, str(source.id)
