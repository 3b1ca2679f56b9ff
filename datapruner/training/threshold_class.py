"""The threshold class of Pleiss et al. 2020 (arXiv:2001.10528): what a wrong label's area under the margin reaches.

    fake = threshold_rows(uids, classes=C, seed=0)        # their label in training is C, one more than there are
    ...train with C + 1 logits, recording...
    cut = threshold_cut("dynamics.safetensors", fake)     # datapruner select ... threshold:minimum=<cut>

Rows with the class C are as many as those of a class on average, n / (C + 1), drawn by a hash of uid and seed. A row
at or below the cut is probably mislabeled. Those that were drawn have no aum of their own label: a second training
with another seed judges them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datapruner.corpus.uids import splitmix64
from datapruner.training.record_file import Record
from datapruner.training.uid_slots import uid_keys


def threshold_rows(uids: Sequence[str], classes: int, seed: int = 0) -> list[str]:
    """The uids, in their order, of n / (classes + 1) rows, rounded down; whatever order the rows have."""
    if classes < 1:
        raise ValueError(f"want at least 1 class, got {classes}")
    keys = uid_keys(uids).view(np.uint64)
    drawn = np.lexsort((keys, splitmix64(keys, seed)))[: len(uids) // (classes + 1)]
    return [uids[row] for row in np.sort(drawn).tolist()]


def threshold_cut(record: str | Path, fake: Sequence[str], percentile: float = 99.0) -> float:
    """The `percentile` of the aum of the rows `fake`, by linear interpolation as numpy does."""
    found = Record(Path(record))
    places = found.places(uid_keys(fake).view(np.uint64), [*fake])
    if not len(places):
        raise ValueError("want at least one threshold row, got none")
    return float(np.percentile(found.column("margin_sum")[places] / found.column("presentations")[places], percentile))
