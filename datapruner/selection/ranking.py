"""Exact cuts by rank without a sort: a partition finds the value at the cut, and only rows tied there are drawn.

A row's lot is a hash of its uid and the seed: of rows tied at a cut the lowest lots are kept, whatever the order
of the rows. Lots are asked for only where a tie has to be broken. Ranks are taken from low to high by score and
then by lot, so that the rows kept for a smaller count are among those kept for a larger one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from datapruner.selection.groups import BLOCK, members

# from places to the uint64 lots of the rows there
Lots = Callable[[np.ndarray], np.ndarray]


def lowest(values: np.ndarray, n: int, lots: Lots | None = None) -> np.ndarray:
    """Which of `values` [N] are the `n` lowest, bool [N]; ties by lot, and where there are none by place."""
    if n in (0, len(values)):
        return np.full(len(values), n > 0)
    cut = np.partition(values, n - 1)[n - 1]
    kept: np.ndarray = values < cut
    return _fill(kept, values == cut, n, lots)


def highest(values: np.ndarray, n: int, lots: Lots | None = None) -> np.ndarray:
    """Which of `values` [N] are the `n` highest, bool [N]; ties as in `lowest`."""
    if n in (0, len(values)):
        return np.full(len(values), n > 0)
    cut = np.partition(values, len(values) - n)[len(values) - n]
    kept: np.ndarray = values > cut
    return _fill(kept, values == cut, n, lots)


def middle(values: np.ndarray, n: int, lots: Lots | None = None) -> np.ndarray:
    """Which of `values` [N] have the `n` ranks in the middle, bool [N]; floor((N - n) / 2) lie below."""
    below = (len(values) - n) // 2
    # the two are nested: what is under the window is under its upper end
    return lowest(values, below + n, lots) & ~lowest(values, below, lots)


def highest_of_each(values: np.ndarray, ids: np.ndarray, counts: list[int], lots: Lots) -> np.ndarray:
    """Which of `values` [N] are the `counts[g]` highest where `ids` [N] is g, for every g; bool [N]."""
    kept = np.zeros(len(values), dtype=bool)
    for places, count in zip(members(ids, len(counts)), counts, strict=True):
        kept[places] = highest(values[places], count, lambda tied, at=places: lots(at[tied]))  # type: ignore[misc]
    return kept


def rank(values: np.ndarray) -> np.ndarray:
    """Each value's rank in [0, 1], float64 [N]: 0 the lowest, 1 the highest, of equal ones the mean; 0.5 alone."""
    if len(values) < 2:
        return np.full(len(values), 0.5)
    order = np.argsort(values)
    ordered = values[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    lengths = np.diff(np.append(starts, len(values)))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat((starts + (lengths - 1) / 2) / (len(values) - 1), lengths)
    return ranks


def strata(values: np.ndarray, k: int) -> np.ndarray:
    """The number under `k` of each value's bin: `k` bins of equal width over the range, the last closed at its end."""
    bins = np.zeros(len(values), dtype=np.min_scalar_type(k - 1))
    if not len(values):
        return bins
    # in float64, where the width of a float32 range neither overflows nor rounds to 0
    low, high = float(values.min()), float(values.max())
    if low == high:
        return bins
    for start in range(0, len(values), BLOCK):
        place = (values[start : start + BLOCK].astype(np.float64) - low) / (high - low)
        bins[start : start + BLOCK] = np.minimum(place * k, k - 1)
    return bins


def _fill(kept: np.ndarray, tied: np.ndarray, n: int, lots: Lots | None) -> np.ndarray:
    """Add to `kept` so many of `tied` that `n` are kept."""
    missing = n - int(np.count_nonzero(kept))
    places = np.flatnonzero(tied)
    if missing == len(places):
        kept |= tied
    elif lots is None:
        kept[places[:missing]] = True
    else:
        kept[places[lowest(lots(places), missing)]] = True
    return kept
