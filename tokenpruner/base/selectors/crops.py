"""The best tokens of each crop, the budget spread over crops by their mean score, as HoloV (arXiv:2510.02912) does.

Crops are equal stretches of the token sequence. What a crop gets is in proportion to the mean score of its tokens, and
the counts add up to what is asked for; crops that nothing speaks for share alike. Scores below 0 are raised for that,
all by as much, so that the lowest is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from prunekernels import budget, segments, select
from tokenpruner.base.parts import Selector


@dataclass(frozen=True)
class Crops(Selector):
    """Paper: Zou et al. 2025, NeurIPS, HoloV (arXiv:2510.02912); the best of each of `n` stretches."""

    n: int = 16

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"want crops of at least 1, got {self.n}")

    def pick(self, features: torch.Tensor, scores: torch.Tensor | None, n: int) -> torch.Tensor:
        """The best of each crop, in the order of the sequence."""
        if scores is None:
            raise ValueError("crops wants scores, got none")
        n_crops = min(self.n, len(scores))
        sizes = [own.numel() for own in scores.tensor_split(n_crops)]
        crop = torch.arange(n_crops, device=scores.device).repeat_interleave(torch.tensor(sizes, device=scores.device))
        raised = scores - scores.min().clamp(max=0)
        weights = (segments.reduce(raised, crop, "mean")).tolist()
        counts = budget.allocate(n, sizes, weights if any(weights) else None)
        return select.top(scores, counts.to(scores.device), crop)
