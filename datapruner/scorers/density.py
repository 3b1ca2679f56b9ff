"""Density of the embeddings around a row (Sachdeva et al. 2024, How to train data-efficient LLMs, arXiv:2402.09668).

    score = mean over other rows y of exp(-|x - y|^2 / (2 h^2)),    x and y of length 1

Higher is a row of which there are many like it. The paper's density sampling keeps rows with a probability of one over
the density, so that the kept ones cover the space evenly; bottom keeps the rarest. The sum runs over all rows up to
`rows`, beyond that over so many drawn by uid, which takes the place of the paper's sketch: its error falls with the
root of their number. A row is not its own neighbour: it is known by its uid, not by its place among the nearest.
Deduplicate first: copies are density.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from datapruner.scorers._neighbors import NeighborScorer


@dataclass(frozen=True)
class Density(NeighborScorer):
    """Paper: Sachdeva et al. 2024 (arXiv:2402.09668); mean Gaussian kernel of the embedding to other rows.

    `bandwidth` is h, a distance of unit vectors.
    """

    rows: int = 16_384
    bandwidth: float = 0.3

    direction: ClassVar[str] = "higher has more rows like it; in [0, 1]"
    cost: ClassVar[str] = "2 d FLOP a row and bucket"
    default_selector: ClassVar[str] = "bottom"

    def check(self) -> None:
        if not self.bandwidth > 0 or self.rows < 2:
            raise ValueError(
                f"density wants a bandwidth above 0 and at least 2 rows, got {self.bandwidth} and {self.rows}"
            )

    def of_cosines(self, cosines: torch.Tensor) -> torch.Tensor:
        # of unit vectors |x - y|^2 is 2 - 2 cos; -inf, which is the row itself, counts 0
        kernel = torch.exp((cosines - 1) / self.bandwidth**2)
        return kernel.sum(1, dtype=torch.float64) / (cosines > -torch.inf).sum(1).clamp(min=1)
