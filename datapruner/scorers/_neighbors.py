"""Scorers that compare each row with rows drawn from the corpus, by the cosines of their vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.scorers._drawn_vectors import drawn_vectors
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State
from prunekernels._unit import unit_rows

# cosines held at a time (64 MiB)
MOST_PAIRS = 1 << 24


@dataclass(frozen=True)
class NeighborScorer(Scorer):
    """Base: all rows up to `rows`, beyond that so many drawn by uid, are what others are compared with.

    `features` names the field or column with a row's embedding, [d]. A scorer writes `of_cosines`.
    """

    features: str = "embedding"
    rows: int = 65_536
    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()

    def of_cosines(self, cosines: torch.Tensor) -> torch.Tensor:
        """The scores [b] of some rows from their cosines [b, m], -inf of a row to itself."""
        raise NotImplementedError

    def vectors(self) -> tuple[str, ...]:
        return (self.features,)

    def fit(self, corpus: Iterable[Batch]) -> State:
        drawn = drawn_vectors(corpus, self.features, self.rows, self.seed)
        return {"keys": drawn.keys, "vectors": drawn.vectors}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        name = type(self).__module__.rpartition(".")[2]
        scores = [self.of_cosines(block) for block in blocks_of_cosines(name, batch, self.features, state)]
        return torch.cat(scores).float().numpy() if scores else np.zeros(0, np.float32)


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
