"""Words and pairs of neighbouring words of texts, hashed into buckets: what linear models of text count.

A text is cut in lower case into runs of word characters and runs of other signs, as wordpunct tokenizers do. Each
different word of a block is hashed once, and pairs are hashed from the words' hashes, all by numpy: the same buckets on
every machine, whatever stands beside a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from datapruner.corpus.uids import hash64, splitmix64

_WORD = re.compile(r"\w+|[^\w\s]+")
# texts that are hashed together: bounds the memory to some 60 bytes a character
BLOCK_CHARACTERS = 1 << 21


class Hashed(NamedTuple):
    """Bucket and number of the text of each word and pair, int64 [m] both; texts are those of the slice `texts`."""

    texts: slice
    buckets: np.ndarray
    owners: np.ndarray


def hashed_words(texts: Sequence[str], n_buckets: int) -> Iterator[Hashed]:
    """Every word and pair of `texts`, a block of texts at a time; `owners` count from the block's first text."""
    start = 0
    while start < len(texts):
        end, characters = start, 0
        while end < len(texts) and (end == start or characters + len(texts[end]) <= BLOCK_CHARACTERS):
            characters += len(texts[end])
            end += 1
        yield Hashed(slice(start, end), *_hashed(texts[start:end], n_buckets))
        start = end


def bucket_counts(texts: Sequence[str], n_buckets: int) -> np.ndarray:
    """How many words and pairs of `texts` are in each bucket, int64 [n_buckets]."""
    total = np.zeros(n_buckets, dtype=np.int64)
    for block in hashed_words(texts, n_buckets):
        total += np.bincount(block.buckets, minlength=n_buckets)
    return total


def _hashed(texts: Sequence[str], n_buckets: int) -> tuple[np.ndarray, np.ndarray]:
    found = [_WORD.findall(text.lower()) for text in texts]
    words = [word for each in found for word in each]
    owners = np.repeat(np.arange(len(found)), [len(each) for each in found])
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    hashes = hash64(numbers)[np.fromiter(map(numbers.__getitem__, words), np.int64, len(words))]
    inside = owners[1:] == owners[:-1]
    pairs = splitmix64(splitmix64(hashes[:-1], 1) ^ hashes[1:], 2)[inside]
    both = np.concatenate([hashes, pairs]) % np.uint64(n_buckets)
    return both.astype(np.int64), np.concatenate([owners, owners[1:][inside]])
