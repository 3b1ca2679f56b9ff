"""Tokens that stand in for all the others, as FLoC (Cho et al. 2025, arXiv:2511.00141) picks them.

f(S) = sum_i max_{j in S} cos(x_i, x_j),      picked greedily, each time the token that adds most
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import facility_location
from tokenpruner.base.parts import Selector


@dataclass(frozen=True)
class FacilityLocation(Selector):
    """Paper: Cho et al. 2025, FLoC (arXiv:2511.00141); the middles of groups, large groups first."""

    needs: ClassVar[frozenset[str]] = frozenset({"visual"})
    reads_scores: ClassVar[bool] = False

    def pick(self, features: torch.Tensor, scores: torch.Tensor | None, n: int) -> torch.Tensor:
        """The `n` first of lazy greedy."""
        return facility_location.facility_location(features, n).picks.sort().values
