"""VisionZip (Yang et al., CVPR 2025, arXiv:2412.04467): tokens that the class token reads, the rest merged.

Dominant tokens are the most attended ones in a block of the vision tower. Of the others every so many-th becomes a
contextual token; each one left goes into the contextual token whose key is nearest by cosine. Published: 54 dominant
and 10 contextual tokens of 576, the tower's last block but one. There a contextual token is the sum of its target and
the mean of what goes into it, whose norm grows with it, and contextual tokens follow behind the dominant ones; here it
is the mean of all of them, at its own place. A tower without class token is read by the mean attention received.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import select
from prunekernels._unit import unit_rows
from tokenpruner.base.before_decoder import Context, Merge, Method, Need
from tokenpruner.base.merging.nearest import into_nearest, left_over


@dataclass(frozen=True)
class VisionZip(Method):
    """Paper: Yang et al. 2025, CVPR (arXiv:2412.04467); tokens that the class token reads, the rest merged.

    A share `contextual` of the tokens that stay is made of those that do not.
    """

    keep_ratio: float = 64 / 576
    contextual: float = 10 / 64
    tower_layer: int = -2

    cost: ClassVar[str] = "one row of the tower's attention, and the keys of what goes beside those it is merged into"
    published_count: ClassVar[str] = "64 of 576: 54 and 10 (also 128, 192)"
    needs: ClassVar[frozenset[Need]] = frozenset({"class_attention", "keys"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.contextual < 1:
            raise ValueError(f"visionzip wants contextual in [0, 1), got {self.contextual}")

    def keep(self, context: Context, n: int) -> torch.Tensor:
        """Dominant and contextual tokens, in the order of the sequence."""
        dominant = self._dominant(context, n)
        others = left_over(context.size, dominant)
        n_targets = n - len(dominant)
        # one of each stretch of equal length, the first
        step = max(1, len(others) // max(1, n_targets))
        return torch.cat([dominant, others[::step][:n_targets]]).sort().values

    def merge(self, context: Context, picks: torch.Tensor) -> Merge:
        """Every token left goes into the contextual token with the nearest key."""
        contextual = (~torch.isin(picks, self._dominant(context, len(picks)))).nonzero().flatten()
        return Merge(into_nearest(unit_rows(context.of_tower("keys").mean(1)), picks, contextual))

    def _dominant(self, context: Context, n: int) -> torch.Tensor:
        return select.top(context.of_tower("class_attention"), n - min(n - 1, round(n * self.contextual)))
