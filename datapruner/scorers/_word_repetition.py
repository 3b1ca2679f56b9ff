"""How much of a text stands in word n-grams that repeat, many texts at a time (Rae et al. 2021, arXiv:2112.11446).

    top n-gram:         characters of the most frequent n-gram times how often it occurs, where it occurs twice or more
    duplicate n-grams:  characters of all words inside an n-gram that the text had before; none is counted twice

both over the characters of all words. n-grams are 64-bit hashes; a sort by (text, hash) finds the equal ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datapruner.corpus.uids import splitmix64


def repetition(texts: Sequence[Sequence[str]], top: Sequence[int], duplicate: Sequence[int]) -> dict[int, np.ndarray]:
    """For each n of `top` and `duplicate` the fraction of each text, float64 [texts] in [0, 1]; texts are words."""
    words = [word for each in texts for word in each]
    owners = np.repeat(np.arange(len(texts)), [len(each) for each in texts])
    sizes = np.fromiter(map(len, words), np.int64, len(words))
    total = np.bincount(owners, sizes, minlength=len(texts)).clip(1)
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    single = splitmix64(np.fromiter(map(numbers.__getitem__, words), np.uint64, len(words)), 0)
    # the text is in the hash: equal n-grams of two texts differ
    grams, found = splitmix64(single ^ splitmix64(owners, 1), 2), {}
    for n in range(2, max([*top, *duplicate]) + 1):
        grams = splitmix64(grams[:-1] ^ splitmix64(single[n - 1 :], n), n)
        if n not in top and n not in duplicate:
            continue
        begins = np.flatnonzero(owners[: len(grams)] == owners[n - 1 :])
        order = begins[np.argsort(grams[begins], kind="stable")]
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = grams[order[1:]] != grams[order[:-1]]
        measure = _top if n in top else _duplicate
        found[n] = np.minimum(measure(order, is_first, sizes, owners, n, len(texts)) / total, 1)
    return found


def _top(
    order: np.ndarray, is_first: np.ndarray, sizes: np.ndarray, owners: np.ndarray, n: int, n_texts: int
) -> np.ndarray:
    """Characters of the n-gram that occurs most in each text; of several such the longest."""
    starts = np.flatnonzero(is_first)
    counts = np.diff(np.append(starts, len(order)))
    places, ends = order[starts], np.append(0, np.cumsum(sizes))
    most = np.zeros(n_texts, dtype=np.int64)
    np.maximum.at(most, owners[places], counts)
    is_top = (counts == most[owners[places]]) & (counts > 1)
    characters = np.zeros(n_texts, dtype=np.int64)
    np.maximum.at(characters, owners[places][is_top], (counts * (ends[places + n] - ends[places]))[is_top])
    return characters


def _duplicate(
    order: np.ndarray, is_first: np.ndarray, sizes: np.ndarray, owners: np.ndarray, n: int, n_texts: int
) -> np.ndarray:
    """Characters of the words inside n-grams that occurred before."""
    repeated = order[~is_first]
    steps = np.bincount(repeated, minlength=len(sizes) + 1) - np.bincount(repeated + n, minlength=len(sizes) + 1)
    is_inside = np.cumsum(steps)[:-1] > 0
    return np.bincount(owners, sizes * is_inside, minlength=n_texts)
