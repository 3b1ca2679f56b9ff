"""The order of the units of all documents, the most probable first; ties hang on nothing but what is in the documents.

Of two units that are as probable the one that stands earlier in its document goes first, then the one of the document
whose title, text and id come first in the alphabet: so that the order in which documents are given changes nothing.
Only among equal documents the earlier goes first.
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
    return np.lexsort((np.repeat(rank, sizes), place, -probabilities))


def _name(document: SplitDocument) -> tuple[str, str, str]:
    source = document.document
    return source.title or "", source.text, str(source.id)
