"""Cosines of rows to the rows that a scorer drew, without those of a row to itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from datapruner.scoring.scorer import Batch, State
from prunekernels._unit import unit_rows

# cosines held at a time (64 MiB)
MOST_PAIRS = 1 << 24


def blocks_of_cosines(name: str, batch: Batch, features: str, state: State) -> Iterator[torch.Tensor]:
    """The cosines [b, m] of the rows of `batch`, b at a time, to the `vectors` of `state`, -inf of a row to itself.

    Which row is which the uid says, whose hash `keys` of the state has: a copy is another row.
    """
    if "vectors" not in state:
        raise ValueError(f"{name} wants the state that fit(corpus) returned")
    rows = batch.vectors[features]
    if not len(batch):
        return
    if rows.shape[1] != state["vectors"].shape[1]:
        raise ValueError(f"{name} wants {features!r} of {state['vectors'].shape[1]} numbers, got {rows.shape[1]}")
    others = unit_rows(torch.tensor(state["vectors"]))
    height = max(1, MOST_PAIRS // len(others))
    by_key = np.argsort(state["keys"], kind="stable")
    known = state["keys"][by_key]
    place = np.minimum(np.searchsorted(known, batch.keys), len(known) - 1)
    own = np.where(known[place] == batch.keys, by_key[place], -1)
    for start in range(0, len(batch), height):
        cosines = (unit_rows(torch.tensor(rows[start : start + height])) @ others.T).clamp_(-1, 1)
        itself = own[start : start + height]
        is_drawn = np.flatnonzero(itself >= 0)
        cosines[torch.from_numpy(is_drawn), torch.from_numpy(itself[is_drawn])] = -torch.inf
        yield cosines
