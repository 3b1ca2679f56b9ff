"""Tokens that matter and are unlike each other: greedy MAP of a determinantal point process (CDPruner).

L_ij = q_i cos(x_i, x_j) q_j,      q the scores scaled to [0, 1] over the image, 1 where all are equal
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import dpp_map
from tokenpruner.base.parts import Selector


@dataclass(frozen=True)
class Dpp(Selector):
    """Paper: Zhang et al. 2025, NeurIPS, CDPruner (arXiv:2506.10967); diverse tokens of high scores."""

    needs: ClassVar[frozenset[str]] = frozenset({"visual"})

    def pick(self, features: torch.Tensor, scores: torch.Tensor | None, n: int) -> torch.Tensor:
        """The `n` first of the greedy MAP."""
        if scores is None:
            raise ValueError("dpp wants scores, got none")
        low, high = scores.min(), scores.max()
        # of one value alone none matters more than another
        quality = torch.where(high > low, (scores - low) / (high - low).clamp(min=1e-12), torch.ones_like(scores))
        return dpp_map.dpp_map(features, quality, n).sort().values
