"""Vectors of some rows of a corpus, drawn by a hash of their uids: the same ones in whatever order the rows come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from datapruner.corpus.uids import splitmix64
from datapruner.scoring.scorer import Batch


class Drawn(NamedTuple):
    """`keys` uint64 [m] of the uids, `vectors` float32 [m, d], in the order in which they are drawn; `total` rows."""

    keys: np.ndarray
    vectors: np.ndarray
    total: int


def drawn_vectors(corpus: Iterable[Batch], name: str, most: int, seed: int) -> Drawn:
    """At most `most` rows of the vectors `name`; never more than twice that are held, and a batch."""
    keys, rows, total = np.zeros(0, np.uint64), np.zeros((0, 0), np.float32), 0
    for batch in corpus:
        total += len(batch)
        found = batch.vectors[name]
        keys = np.append(keys, batch.keys)
        rows = np.concatenate([rows, found]) if len(rows) else found
        if len(keys) > 2 * most:
            keys, rows = _first(keys, rows, most, seed)
    return Drawn(*_first(keys, rows, most, seed), total)


def _first(keys: np.ndarray, rows: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(splitmix64(keys, seed), kind="stable")[:most]
    return keys[order], rows[order]
