"""VisPruner (Zhang et al., ICCV 2025, arXiv:2412.01818): half by the class token's attention, half by diversity.

important   the `important` share of the tokens, those that the class token reads most
diverse     of the others tokens go in rounds of at most 8: the rest is split in turns into two halves, and
            those of the first half leave that are most similar to one of the second, until so many are left
            as are asked for
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import select
from prunekernels.thin_out import thin_out
from tokenpruner.base.before_decoder import Context, Method, Need

PER_ROUND = 8


@dataclass(frozen=True)
class VisPruner(Method):
    """Paper: Zhang et al. 2025, ICCV (arXiv:2412.01818); half by the class token's attention, half by diversity."""

    keep_ratio: float = 64 / 576
    important: float = 0.5
    tower_layer: int = -2

    cost: ClassVar[str] = "one row of the tower's attention, 2 N^2 D FLOP for the cosines, N a round"
    published_count: ClassVar[str] = "64 of 576"
    needs: ClassVar[frozenset[Need]] = frozenset({"visual", "class_attention"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.important <= 1:
            raise ValueError(f"vispruner wants important in [0, 1], got {self.important}")

    def keep(self, context: Context, n: int) -> torch.Tensor:
        """Important and diverse tokens, in the order of the sequence."""
        important = select.top(context.of_tower("class_attention"), int(n * self.important))
        is_left = torch.ones(context.size, dtype=torch.bool, device=important.device)
        is_left[important] = False
        others = is_left.nonzero().flatten()
        diverse = others[thin_out(context.visual[others], n - len(important), PER_ROUND)]
        return torch.cat([important, diverse]).sort().values
