"""A score among rows of like length: quantiles in bins of length.

Scores that are means over tokens scatter more the shorter a text is, and many of them grow or fall with length; what
is kept by such a score is then kept by its length. Here a row gets the quantile of its value among rows whose length
falls into the same bin: in (0, 1), the same distribution in every bin. Bins hold about equally many rows of a sample,
at least `LEAST` of them. Between two values of the sample the quantile is interpolated, beyond its ends it nears 0 or
1 and stays in order.
"""

from __future__ import annotations

import numpy as np

from datapruner.scoring.scorer import State

MOST_BINS, LEAST = 16, 32


def fit_bins(lengths: np.ndarray, values: np.ndarray) -> State:
    """Bins from a sample, `lengths` and `values` [n]: edges, the values sorted in each bin, and where a bin begins."""
    n_bins = max(1, min(MOST_BINS, len(lengths) // LEAST))
    edges = np.zeros(0)
    if n_bins > 1:
        edges = np.unique(np.quantile(lengths, np.arange(1, n_bins) / n_bins, method="higher")).astype(np.float64)
        # below the first edge there is somebody
        longer = lengths[lengths > lengths.min()]
        edges = np.unique(np.maximum(edges, longer.min())) if len(longer) else np.zeros(0)
    bins = np.searchsorted(edges, lengths, "right")
    order = np.lexsort([values, bins])
    starts = np.searchsorted(bins[order], np.arange(len(edges) + 2))
    return {"edges": edges, "values": np.asarray(values, np.float64)[order], "starts": starts.astype(np.int64)}


def quantiles(state: State, lengths: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The quantile of each of `values` among those of its bin, float32 [n] in (0, 1)."""
    bins = np.searchsorted(state["edges"], lengths, "right")
    found = np.full(len(values), 0.5)
    for number in np.unique(bins).tolist():
        known = state["values"][state["starts"][number] : state["starts"][number + 1]]
        if len(known):
            inside = bins == number
            found[inside] = _among(known, values[inside])
    return found.astype(np.float32)


def _among(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mid-ranks over n: equal values share one; half a rank is left on either side, for what lies beyond."""
    unique, first, counts = np.unique(known, return_index=True, return_counts=True)
    ranks = (first + counts / 2) / len(known)
    below = np.exp(np.minimum(values - unique[0], 0)) * ranks[0]
    above = 1 - np.exp(np.minimum(unique[-1] - values, 0)) * (1 - ranks[-1])
    inside = np.interp(values, unique, ranks)
    return np.where(values < unique[0], below, np.where(values > unique[-1], above, inside))
