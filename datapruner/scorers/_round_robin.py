"""Rows that examples choose by turns, each the most similar to it that is left."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import numpy as np

# rows of an example's list that are looked at together
STEP = 64
DIGITS = 5


def round_robin(similarities: Sequence[np.ndarray], keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At which place each row is taken, int64 [n], and its most similar example, int64 [n].

    `similarities` are blocks of rows, float [rows, examples]; they are compared to five digits, equal ones by `keys`
    uint64 [n]. The lists of the examples lie in a temporary file.
    """
    n_rows, n_examples = len(keys), similarities[0].shape[1]
    nearest = np.concatenate([block.argmax(1) for block in similarities])
    by_key = np.argsort(keys, kind="stable")
    place, left = np.zeros(n_rows, dtype=np.int64), np.ones(n_rows, dtype=bool)
    with tempfile.TemporaryFile() as file:
        lists = np.memmap(file, np.int64, "w+", shape=(n_examples, n_rows))
        for example in range(n_examples):
            own = np.concatenate([block[:, example] for block in similarities]).round(DIGITS)[by_key]
            lists[example] = by_key[np.argsort(-own, kind="stable")]
        reached = [0] * n_examples
        for taken in range(n_rows):
            example = taken % n_examples
            row = _first_left(lists[example], left, reached, example)
            place[row], left[row] = taken, False
    return place, nearest


def _first_left(rows: np.ndarray, left: np.ndarray, reached: list[int], example: int) -> int:
    """The first of `rows` that is left; those before `reached[example]` are taken, which goes up to it."""
    while True:
        ahead = left[rows[reached[example] : reached[example] + STEP]]
        first = int(ahead.argmax())
        if ahead[first]:
            reached[example] += first + 1
            return int(rows[reached[example] - 1])
        reached[example] += len(ahead)
