"""One line that says which rows were kept: equal for equal runs, wherever they ran."""

from __future__ import annotations

import hashlib

import numpy as np

from datapruner.selection import Selection

_BLOCK = 65536


def kept_hash(selection: Selection) -> str:
    """BLAKE2b of the kept uids in the order of the corpus, each after its length; 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, selection.n_rows, _BLOCK):
        names = selection.uid_range(start, min(start + _BLOCK, selection.n_rows))
        kept = np.flatnonzero(selection.codes[start : start + len(names)] < 0).tolist()
        uids = [names[index].encode() for index in kept]
        digest.update(b"".join([len(uid).to_bytes(8, "little") + uid for uid in uids]))
    return digest.hexdigest()
