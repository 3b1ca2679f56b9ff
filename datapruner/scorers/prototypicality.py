"""Prototypicality of Sorscher et al. 2022 (arXiv:2206.14486): how far a row lies from the centre of its cluster.

    score = 1 - cos(x, c),    c the nearest of k centroids of spherical k-means over the embeddings

Higher is farther from its prototype, hence harder: the paper keeps the hard ones where data is plentiful and the
easy ones where it is scarce. Every score of this kind shifts the mix of classes: select with `per`.

k = 0 takes sqrt(n / (2 iterations)), where k-means and a later comparison inside clusters cost least together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.scorers._nearest_centroid import CentroidScorer
from datapruner.scoring.scorer import NOTHING, Batch, State


@dataclass(frozen=True)
class Prototypicality(CentroidScorer):
    """Paper: Sorscher et al. 2022 (arXiv:2206.14486); cosine distance to the own cluster's centroid."""

    fits_some_rows: ClassVar[bool] = True
    direction: ClassVar[str] = "higher is farther from its cluster's centroid: harder; in [0, 2]"
    cost: ClassVar[str] = "fit: 2 n k d FLOP an iteration for n training rows; 2 k d a row"

    def default_k(self, rows: int) -> float:
        return (rows / (2 * self.iterations)) ** 0.5

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        return 1 - self.nearest(batch, state)[0]
