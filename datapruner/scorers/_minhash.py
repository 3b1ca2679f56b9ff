"""MinHash signatures of texts (Broder 1997), and pairs of them by banding (Leskovec, Rajaraman, Ullman).

The share of equal places of two signatures estimates the Jaccard similarity of the texts' sets of n-grams, with a
standard deviation of at most 1 / (2 sqrt(places)). Rows are compared that agree throughout one of the bands: with B
bands of R places a pair of similarity s is found with probability 1 - (1 - s^R)^B.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from datapruner.corpus.uids import splitmix64
from datapruner.scorers._copies import Pairs, buckets
from datapruner.scorers._words import WORD, runs, tokens
from prunekernels.extras import require

# in a bucket a row is compared with this many rows before it, and with the first of the bucket
WINDOW = 16
# pairs that are compared at a time: bounds the memory of the comparison
PAIRS = 1 << 16


class Signed(NamedTuple):
    """Signatures uint32 [n, places]; and a hash of all words of each text, uint64 [n], equal for equal ones."""

    signatures: np.ndarray
    wholes: np.ndarray


def signed(texts: Sequence[str], n: int, places: int, seed: int) -> Signed:
    """Sign the n-grams of `texts`; each text that comes again has the first one's signature."""
    rmin = require("rensa", "data").RMinHash
    found, wholes = np.zeros((len(texts), places), np.uint32), np.zeros(len(texts), np.uint64)
    for block in tokens(texts):
        wholes[block.texts], grams = block.wholes, runs(block, n * WORD)
        matrix = rmin.digest_matrix_from_flat_token_hashes(grams.hashes, grams.starts.astype(np.uint64), places, seed)
        found[block.texts] = np.array(matrix.to_rows(), dtype=np.uint32).reshape(-1, places)
    return Signed(found, wholes)


def pairs(signatures: np.ndarray, order: np.ndarray, bands: int, n: int) -> Iterator[Pairs]:
    """Rows below `n` and rows before them in `order` int64 [m], with the share of places at which they agree.

    `signatures` uint32 [n + older, places] may be a memmap; rows that are not in `order` are not looked at, and rows
    from `n` on are not compared with each other. In a bucket a row is compared with at most `WINDOW` rows before it
    and with the first. Memory: about 60 bytes a row.
    """
    places = signatures.shape[1]
    width = places // bands
    for first in range(0, width * bands, width):
        rows, starts = buckets(_keys(signatures, first, first + width)[order], order)
        for later, earlier in _in_buckets(rows, starts):
            later, earlier = later[later < n], earlier[later < n]
            for start in range(0, len(later), PAIRS):
                one, other = later[start : start + PAIRS], earlier[start : start + PAIRS]
                equal = (signatures[one] == signatures[other]).mean(1, dtype=np.float32)
                yield Pairs(one, other, equal)


def _keys(signatures: np.ndarray, first: int, last: int) -> np.ndarray:
    """One uint64 for each row, from its places first to last - 1."""
    keys = np.zeros(len(signatures), dtype=np.uint64)
    for start in range(0, len(signatures), PAIRS):
        block = slice(start, start + PAIRS)
        for place, column in enumerate(np.array(signatures[block, first:last]).T):
            keys[block] = splitmix64(keys[block] ^ column.astype(np.uint64), place)
    return keys


def _in_buckets(rows: np.ndarray, starts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and as many rows before them in their buckets."""
    offset = np.arange(len(rows)) - starts
    for distance in range(1, WINDOW + 1):
        later = np.flatnonzero(offset >= distance)
        if not len(later):
            return
        yield rows[later], rows[later - distance]
    later = np.flatnonzero(offset > WINDOW)
    yield rows[later], rows[starts[later]]
