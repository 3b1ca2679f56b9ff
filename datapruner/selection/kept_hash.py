"""One line that says which rows were kept: equal for equal runs, wherever they ran."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from datapruner.selection.selection import Selection
from datapruner.selection.uid_column import uid_slices
from prunekernels.extras import require

if TYPE_CHECKING:
    import pyarrow as pa

LENGTH = 8


def kept_hash(selection: Selection) -> str:
    """BLAKE2b of the kept uids in the order of the corpus, each after its length; 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)
    for start, uids in uid_slices(selection.uids, 0, selection.n_rows):
        kept = np.flatnonzero(selection.codes[start : start + len(uids)] < 0)
        digest.update(_framed(uids.take(require("pyarrow", "data").array(kept))))
    return digest.hexdigest()


def _framed(uids: pa.Array) -> bytes:
    """The UTF-8 of all uids, each after the number of its bytes (8, little-endian)."""
    lengths = require("pyarrow.compute", "data").binary_length(uids).to_numpy().astype(np.int64)
    before = np.cumsum(lengths) - lengths
    rows = np.arange(len(lengths))
    framed = np.empty(int(lengths.sum()) + LENGTH * len(lengths), dtype=np.uint8)
    starts = before + LENGTH * rows
    framed[starts[:, None] + np.arange(LENGTH)] = lengths.astype("<i8").view(np.uint8).reshape(-1, LENGTH)
    data = uids.buffers()[2]
    letters = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8, int(lengths.sum()))
    # every letter moves behind its row's length and those of the rows before
    framed[np.arange(len(letters)) + LENGTH * (np.repeat(rows, lengths) + 1)] = letters
    return framed.tobytes()
