"""Facility location: how much a row adds to those that already stand for the corpus (Wei, Iyer and Bilmes 2015).

    f(S) = sum_i max_{j in S} (1 + cos(x_i, x_j)) / 2        score = f(S + j) - f(S) where greedy picks j, over n

Higher was picked earlier and stands for more rows; the sum of all scores is f over n. Gains never grow, so that top
with any keep_ratio keeps what greedy picks first. Only the first `picks` rows are picked, and only of those up to
`rows` that are drawn by uid; the others have 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.scorers._drawn_vectors import drawn_vectors
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State
from prunekernels.facility_location import facility_location


@dataclass(frozen=True)
class FacilityLocation(Scorer):
    """Paper: Wei, Iyer and Bilmes 2015 (ICML, submodular data selection); gain of the row when greedy picks it.

    `features` names the field or column with a row's embedding, [d].
    """

    features: str = "embedding"
    picks: int = 1024
    rows: int = 32_768
    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()
    direction: ClassVar[str] = "higher stands for more rows that no earlier pick does; in [0, 1]"
    cost: ClassVar[str] = "2 n d FLOP an evaluation, a few a pick"

    def check(self) -> None:
        if not 1 <= self.picks <= self.rows:
            raise ValueError(f"facility_location wants picks in [1, rows], got {self.picks} of {self.rows}")

    def vectors(self) -> tuple[str, ...]:
        return (self.features,)

    def fit(self, corpus: Iterable[Batch]) -> State:
        drawn = drawn_vectors(corpus, self.features, self.rows, self.seed)
        if not len(drawn.keys):
            return {"keys": drawn.keys, "gains": np.zeros(0, np.float32)}
        found = facility_location(torch.tensor(drawn.vectors), min(self.picks, len(drawn.keys)))
        keys, gains = drawn.keys[found.picks.numpy()], found.gains.numpy() / len(drawn.keys)
        order = np.argsort(keys, kind="stable")
        return {"keys": keys[order], "gains": gains[order].astype(np.float32)}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if "gains" not in state:
            raise ValueError("facility_location wants the state that fit(corpus) returned")
        if not len(state["keys"]):
            return np.zeros(len(batch), np.float32)
        place = np.minimum(np.searchsorted(state["keys"], batch.keys), len(state["keys"]) - 1)
        return np.where(state["keys"][place] == batch.keys, state["gains"][place], 0).astype(np.float32)
