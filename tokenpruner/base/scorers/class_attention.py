"""What the class token of the vision tower attends to, mean over heads; without class token the attention received."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tokenpruner.base.before_decoder import Context, ImageScorer


@dataclass(frozen=True)
class ClassAttention(ImageScorer):
    """Rule: the class token's attention, in the block of the vision tower that the method names."""

    needs: ClassVar[frozenset[str]] = frozenset({"class_attention"})

    def score(self, context: Context) -> torch.Tensor:
        """A row of the tower's attention."""
        return context.of_tower("class_attention")
