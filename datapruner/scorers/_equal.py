"""Rows that are equal by a hash: which is the first of them, and how many come before each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from datapruner.corpus.uids import hash64
from datapruner.scorers import _copies
from datapruner.scorers._copies import Links
from datapruner.scorers._copy_state import copy_state, packed

Hashed = tuple[Sequence[str], np.ndarray]


def equal_state(corpus: Iterable[Hashed], older: Iterable[Hashed], in_order: bool) -> dict[str, np.ndarray]:
    """The state of a scorer of copies from uids and hashes uint64 of the rows, a block at a time, of both corpora.

    With `in_order` rows are earlier as they stand, else by the hash of the uid. `counts` int64 [n] are the earlier
    equal rows of each. About 60 bytes a row.
    """
    uids, hashes, keys, n = [], [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)], 0
    for is_older, rows in ((False, corpus), (True, older)):
        for names, found in rows:
            uids.append(packed(names))
            hashes.append(found)
            keys.append(hash64(names))
            n += 0 if is_older else len(names)
    every = np.concatenate(hashes)
    places = np.arange(len(every))
    order = np.lexsort([places, places if in_order else np.concatenate(keys), places < n])
    links = Links(np.zeros(len(every), np.float32), np.full(len(every), -1, np.int64))
    copies, firsts = _copies.equal_rows(every, order)
    links.similarity[copies], links.nearest[copies] = 1, firsts
    rows, starts = _copies.buckets(every[order], order)
    counts = np.empty(len(every), np.int64)
    counts[rows] = places - starts
    return {"counts": counts[:n], **copy_state(links, n, 0.5, uids)}
