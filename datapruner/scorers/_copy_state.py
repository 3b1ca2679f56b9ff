"""What scorers of copies keep of the whole corpus, and tell of a row beside its score: for which row it goes.

Rows of an older corpus are numbered behind those of the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from datapruner.scorers import _copies
from datapruner.scorers._copies import Links
from datapruner.scoring.scorer import Batch, State


def packed(uids: Sequence[str]) -> dict[str, np.ndarray]:
    """Strings as the arrays `uid_bytes` uint8 and `uid_ends` int64 [n]."""
    encoded = [uid.encode() for uid in uids]
    ends = np.array([len(uid) for uid in encoded], dtype=np.int64).cumsum()
    return {"uid_bytes": np.frombuffer(b"".join(encoded), np.uint8), "uid_ends": ends}


def unpacked(arrays: Mapping[str, np.ndarray], indices: np.ndarray) -> list[str]:
    """The strings at `indices`."""
    data, ends = np.ascontiguousarray(arrays["uid_bytes"]).data, arrays["uid_ends"]
    starts = np.where(indices > 0, ends[indices - 1], 0) if len(indices) else indices
    bounds = zip(starts.tolist(), ends[indices].tolist(), strict=True)
    return [str(data[start:end], "utf-8") for start, end in bounds]


def copy_state(
    links: Links, n: int, threshold: float, uid_blocks: Iterable[Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The state of a corpus of `n` rows; `uid_blocks` are the packed uids of all rows, a block at a time.

    Only the uids that some row names are kept.
    """
    nearest = links.nearest[:n]
    rows = np.unique(nearest[nearest >= 0])
    found: list[str] = []
    start = 0
    for block in uid_blocks:
        end = start + len(block["uid_ends"])
        found += unpacked(block, rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)] - start)
        start = end
    similarity, cluster = links.similarity[:n], _copies.clusters(links, threshold)[:n]
    return {"similarity": similarity, "nearest": nearest, "cluster": cluster, "named_rows": rows, **packed(found)}


def copy_score(batch: Batch, state: State, name: str) -> np.ndarray:
    """The similarity at which each row of `batch` goes, float32 [n]."""
    if "similarity" not in state:
        raise ValueError(f"{name} wants the state that fit(corpus) returned")
    return state["similarity"][batch.rows]


def copy_details(batch: Batch, state: State) -> dict[str, np.ndarray]:
    """Of the row for which each goes: `nearest_row`, or `against_row` where it is of the older corpus, int64 or -1, and
    `nearest_uid`, "" where there is none; `cluster` int64: the row that stays of those that are copies of each other.
    """
    nearest, n = state["nearest"][batch.rows], len(state["similarity"])
    uids = np.full(len(nearest), "", dtype=object)
    named = np.flatnonzero(nearest >= 0)
    uids[named] = unpacked(state, np.searchsorted(state["named_rows"], nearest[named]))
    return {
        "nearest_row": np.where(nearest < n, nearest, -1),
        "against_row": np.where(nearest < n, -1, nearest - n),
        "nearest_uid": uids,
        "cluster": state["cluster"][batch.rows],
    }
