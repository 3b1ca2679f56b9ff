"""MinHash signatures of texts, and for each the most similar one that precedes it.

Shingles: the text in NFKC and case-folded; tokens are words, and single characters in scripts that put no
spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese); every run of `size` tokens is a shingle,
all tokens together are the one shingle of a shorter text, and a text without word characters has its
characters as tokens. The share of equal places of two signatures estimates the Jaccard similarity of their
shingle sets, with a standard deviation of at most 1 / (2 sqrt(places)) (Broder 1997).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from datapruner.corpus.uids import splitmix64
from prunekernels.extras import require

# kana, CJK with its extensions, Thai and Lao, Khmer, Burmese: each character by itself
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+")

# in a bucket a row is compared with this many rows before it, and with the first of the bucket
WINDOW = 16
# pairs that are compared at a time: bounds the memory of the comparison
PAIRS = 1 << 16


def shingles(text: str, size: int) -> list[str]:
    """The shingles of `text`, repeated ones included; never none."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    tokens = _TOKEN.findall(plain) or [character for character in plain if not character.isspace()]
    return [" ".join(tokens[i : i + size]) for i in range(max(1, len(tokens) - size + 1))]


def signatures(texts: Sequence[str], size: int, places: int, seed: int) -> np.ndarray:
    """MinHash signatures, uint32 [n, places]."""
    sets = [shingles(text, size) for text in texts]
    matrix = require("rensa", "data").RMinHash.digest_matrix_from_token_sets(sets, places, seed)
    return np.array(matrix.to_rows(), dtype=np.uint32).reshape(len(texts), places)


def nearest_before(signed: np.ndarray, order: np.ndarray, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """For each row the most similar one before it in `order`: equal places int32 [n], and its row int64 [n] or -1.

    `signed` uint32 [n, places] may be a memmap; `order` int64 [n] lists the rows. Rows of equal signatures stand
    for each other: the later ones are compared with the first alone. Of the rest, rows are compared that agree
    throughout one of `bands` bands, with at most `WINDOW` rows before them in a bucket and its first row.
    Memory: about 60 bytes a row.
    """
    n, places = signed.shape
    rank = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(n)
    equal, nearest = np.zeros(n, dtype=np.int32), np.full(n, -1, dtype=np.int64)
    rows, starts = _buckets(_keys(signed, 0, places)[order], order)
    repeated = starts != np.arange(n)
    equal[rows[repeated]], nearest[rows[repeated]] = places, rows[starts[repeated]]
    unique = order[nearest[order] < 0]
    width = places // bands
    for first in range(0, width * bands, width):
        rows, starts = _buckets(_keys(signed, first, first + width)[unique], unique)
        for later, earlier in _pairs(rows, starts):
            _improve(signed, rank, (later, earlier), equal, nearest)
    return equal, nearest


def _keys(signed: np.ndarray, first: int, last: int) -> np.ndarray:
    """One uint64 for each row, from its places first to last - 1."""
    keys = np.zeros(len(signed), dtype=np.uint64)
    for start in range(0, len(signed), PAIRS):
        block = slice(start, start + PAIRS)
        for place, column in enumerate(np.array(signed[block, first:last]).T):
            keys[block] = splitmix64(keys[block] ^ column.astype(np.uint64), place)
    return keys


def _buckets(keys: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of `order`, whose keys are `keys`, by key and then as they were; and where each one's bucket starts."""
    by_key = np.argsort(keys, kind="stable")
    ordered, places = keys[by_key], np.arange(len(keys))
    begins = np.ones(len(keys), dtype=bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    return order[by_key], np.maximum.accumulate(np.where(begins, places, 0))


def _pairs(rows: np.ndarray, starts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and as many rows before them in their buckets; no row twice in one pair of arrays."""
    offset = np.arange(len(rows)) - starts
    for distance in range(1, WINDOW + 1):
        later = np.flatnonzero(offset >= distance)
        if not len(later):
            return
        yield rows[later], rows[later - distance]
    later = np.flatnonzero(offset > WINDOW)
    yield rows[later], rows[starts[later]]


def _improve(
    signed: np.ndarray,
    rank: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    equal: np.ndarray,
    nearest: np.ndarray,
) -> None:
    """Compare the pairs; where they agree more than what was known, or as much with an earlier row, keep them."""
    for start in range(0, len(pairs[0]), PAIRS):
        later, earlier = (side[start : start + PAIRS] for side in pairs)
        found = (signed[later] == signed[earlier]).sum(1, dtype=np.int32)
        # rank[-1] of a row without a nearest one is any: it has 0 equal places, and found is more
        same = (found == equal[later]) & (rank[earlier] < rank[nearest[later]])
        better = (found > equal[later]) | (same & (found > 0))
        equal[later[better]], nearest[later[better]] = found[better], earlier[better]
