"""Density of the embeddings around a row (Sachdeva et al. 2024, How to train data-efficient LLMs, arXiv:2402.09668).

    score = mean over other rows y of exp(-|x - y|^2 / (2 h^2)),    x and y of length 1

Higher is a row of which there are many like it. The paper's density sampling keeps rows with a probability of one over
the density, so that the kept ones cover the space evenly; bottom keeps the rarest. The sum runs over all rows up to
`rows`, beyond that over so many drawn by uid, which takes the place of the paper's sketch: its error falls with the
root of their number. A row is not its own neighbour: it is known by its uid, not by its place among the nearest.
Deduplicate first: copies are density.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.scorers._drawn_vectors import drawn_vectors
from datapruner.scorers._neighbors import blocks_of_cosines
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State


@dataclass(frozen=True)
class Density(Scorer):
    """Paper: Sachdeva et al. 2024 (arXiv:2402.09668); mean Gaussian kernel of the embedding to other rows.

    `features` names the field or column with a row's embedding, [d]; `bandwidth` is h, a distance of unit vectors.
    """

    features: str = "embedding"
    bandwidth: float = 0.3
    rows: int = 16_384
    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()
    direction: ClassVar[str] = "higher has more rows like it; in [0, 1]"
    cost: ClassVar[str] = "2 d FLOP a row and bucket"
    default_selector: ClassVar[str] = "bottom"

    def check(self) -> None:
        if not self.bandwidth > 0 or self.rows < 2:
            raise ValueError(
                f"density wants a bandwidth above 0 and at least 2 rows, got {self.bandwidth} and {self.rows}"
            )

    def vectors(self) -> tuple[str, ...]:
        return (self.features,)

    def fit(self, corpus: Iterable[Batch]) -> State:
        drawn = drawn_vectors(corpus, self.features, self.rows, self.seed)
        return {"keys": drawn.keys, "vectors": drawn.vectors}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        scores = []
        for cosines in blocks_of_cosines("density", batch, self.features, state):
            # of unit vectors |x - y|^2 is 2 - 2 cos; -inf, which is the row itself, counts 0
            kernel = torch.exp((cosines - 1) / self.bandwidth**2)
            others = (cosines > -torch.inf).sum(1).clamp(min=1)
            scores.append(kernel.sum(1, dtype=torch.float64) / others)
        return torch.cat(scores).float().numpy() if scores else np.zeros(0, np.float32)
