"""All pairs of 64-bit hashes that differ in few bits: multi-index hashing (Norouzi et al. 2012, CVPR).

Hashes are cut into 4 bands of 16 bits. Two that differ in at most r = 4 a + b bits, 0 <= b < 4, differ in at most a
bits of one of the first b + 1 bands, or in fewer than a of one of the others: else they would differ in more than r.
So rows are looked up by every key that is so near to a band of theirs, and what is found is compared in full: no pair
is missed. Of random hashes a share of about C(16, a) / 2^16 is compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

BITS, BAND = 64, 16
BANDS = BITS // BAND
# candidates that are compared at a time
PAIRS = 1 << 20
_ONES = np.array([number.bit_count() for number in range(1 << BAND)], np.uint8)


def near_pairs(hashes: np.ndarray, radius: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of `hashes` uint64 [n] that differ in at most `radius` bits: the later, the earlier and the bits in which
    they differ, int64 each. A pair may come more than once."""
    bands = hashes.astype("<u8").view("<u2").reshape(-1, BANDS)
    most, further = divmod(radius, BANDS)
    for band in range(BANDS):
        keys = bands[:, band].astype(np.int64)
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange((1 << BAND) + 1))
        for mask in _masks(most if band <= further else most - 1):
            for later, earlier in _candidates(keys, order, starts, mask):
                bits = _ONES[bands[later] ^ bands[earlier]].sum(1, dtype=np.int64)
                near = bits <= radius
                yield later[near], earlier[near], bits[near]


def _masks(most: int) -> list[int]:
    """The keys with at most `most` bits."""
    places = range(BAND)
    return [sum(1 << bit for bit in bits) for count in range(most + 1) for bits in combinations(places, count)]


def _candidates(
    keys: np.ndarray, order: np.ndarray, starts: np.ndarray, mask: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each pair of rows once whose keys differ in the bits of `mask`, the later first, some at a time."""
    # of two that differ in its highest bit the one that has it asks
    asking = np.flatnonzero(keys & (1 << mask.bit_length() - 1)) if mask else np.arange(len(keys))
    wanted = keys[asking] ^ mask
    counts = starts[wanted + 1] - starts[wanted]
    ends = counts.cumsum()
    first = 0
    while first < len(asking):
        last = max(first + 1, int(np.searchsorted(ends, (ends[first - 1] if first else 0) + PAIRS, "right")))
        some = slice(first, last)
        n, total = counts[some], int(counts[some].sum())
        # of each that asks the rows of its bucket, one after another
        within = np.arange(total) - np.repeat(n.cumsum() - n, n)
        one, other = np.repeat(asking[some], n), order[np.repeat(starts[wanted[some]], n) + within]
        if mask:
            yield np.maximum(one, other), np.minimum(one, other)
        else:
            yield one[one > other], other[one > other]
        first = last
