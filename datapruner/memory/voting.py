"""How the k nearest rows of a memory decide a label, by Geirhos et al. 2025 (arXiv:2408.08172).

    rank         w_i = 1 / (2 + i)                 i = 1 for the nearest row: theirs, better with every neighbour more
    plurality    w_i = 1
    distance     w_i = exp(-(1 - cos_i))
    softmax      w_i = softmax(cos_i / 0.07)

A label's total is the sum of the weights of the rows that have it, each times the row's reliability; the largest wins.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Voting = Literal["rank", "plurality", "distance", "softmax"]
OFFSET, TEMPERATURE = 2.0, 0.07


def vote_weights(cosines: np.ndarray, voting: Voting = "rank") -> np.ndarray:
    """float64 [n, k] of `cosines` [n, k], nearest first; -inf stands for no row, which gets 0.

    Raises ValueError for another voting.
    """
    near, there = cosines.astype(np.float64), np.isfinite(cosines)
    if voting == "rank":
        weights = np.broadcast_to(1 / (OFFSET + 1 + np.arange(cosines.shape[1])), cosines.shape)
    elif voting == "plurality":
        weights = np.ones(cosines.shape)
    elif voting == "distance":
        weights = np.exp(np.where(there, near, 0) - 1)
    elif voting == "softmax":
        # exp(-inf) is 0; a row without neighbours has no largest one
        largest = np.where(there, near, -np.inf).max(1, keepdims=True, initial=-np.inf)
        weights = np.exp((near - np.where(np.isfinite(largest), largest, 0)) / TEMPERATURE)
        weights = weights / np.maximum(weights.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    else:
        raise ValueError(f"want rank, plurality, distance or softmax, got {voting!r}")
    return np.where(there, weights, 0)


def vote_totals(labels: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """float64 [n, classes]: the sum of `weights` [n, k] of each of the `labels` [n, k], whole numbers."""
    totals = np.zeros((len(labels), classes))
    rows = np.broadcast_to(np.arange(len(labels))[:, None], labels.shape)
    counts = weights > 0
    np.add.at(totals, (rows[counts], labels[counts]), weights[counts])
    return totals
