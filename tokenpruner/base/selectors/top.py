"""The tokens with the highest scores; of equal ones the earlier."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from prunekernels import select
from tokenpruner.base.parts import Selector


@dataclass(frozen=True)
class Top(Selector):
    """Rule: the highest scores."""

    def pick(self, features: torch.Tensor, scores: torch.Tensor | None, n: int) -> torch.Tensor:
        """The `n` highest."""
        if scores is None:
            raise ValueError("top wants scores, got none")
        return select.top(scores, n)
