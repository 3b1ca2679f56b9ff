"""Tokens that are far from each other, as DivPrune (Alvar et al., CVPR 2025, arXiv:2503.02175) picks them.

Max-min diversity with cosine distance, solved greedily: the first token is the one whose nearest neighbour is
farthest, each next one has the largest distance to its nearest kept token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import farthest_point
from tokenpruner.base.parts import Selector


@dataclass(frozen=True)
class FarthestPoint(Selector):
    """Paper: Alvar et al. 2025, CVPR (arXiv:2503.02175); far from each other by cosine."""

    needs: ClassVar[frozenset[str]] = frozenset({"visual"})
    reads_scores: ClassVar[bool] = False

    def pick(self, features: torch.Tensor, scores: torch.Tensor | None, n: int) -> torch.Tensor:
        """The `n` first of the greedy order."""
        return farthest_point.farthest_point(features, n, metric="cosine", start="isolated").sort().values
