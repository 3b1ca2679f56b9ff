"""Rows to select from, out of lists: scores, vectors and fields of other columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from datapruner import Candidates
from datapruner.corpus.uids import hash64
from datapruner.selection.candidates import ArrayRows

Fields = Mapping[str, Mapping[str, Sequence[float] | np.ndarray]]


def given_rows(
    scores: Sequence[float] | np.ndarray | None = None,
    vectors: Sequence[Sequence[float]] | np.ndarray | None = None,
    fields: Fields | None = None,
    centroids: np.ndarray | None = None,
) -> Candidates:
    """Candidates with the column `embedding`, and `fields` by column and name; scores are 0 where none are given.

    `centroids` are the state of the column `prototypicality`.
    """
    n = len(scores if scores is not None else vectors if vectors is not None else ())
    rows = ArrayRows(
        hash64([f"u{i}" for i in range(n)]),
        {column: {name: np.array(v) for name, v in found.items()} for column, found in (fields or {}).items()},
        {} if vectors is None else {"embedding": np.array(vectors, dtype=np.float32)},
        {} if centroids is None else {"prototypicality": {"centroids": centroids}},
    )
    return Candidates(np.zeros(n, np.float32) if scores is None else np.array(scores, np.float32), rows, by="score")


def drawn_vectors(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Vectors of four groups of unequal width around unequal centres, float32 [n, d]."""
    draw = np.random.default_rng(seed)
    group = draw.integers(0, 4, n)
    centres = draw.normal(size=(4, d)) * 2
    return (centres[group] + draw.normal(size=(n, d)) * (group[:, None] + 1) / 3).astype(np.float32)
