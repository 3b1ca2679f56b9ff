"""LLaVA-PruMerge (Shang et al., ICCV 2025, arXiv:2403.15388): attended tokens, each with what is near it merged in.

Tokens are ranked by the class token's attention in the tower's last block with all heads taken as one. Each token
that goes is merged into the kept one whose key is nearest by cosine, weighted by attention. `grid` = 0.75 is
PruMerge+: so large a share of the tokens is an even grid over the image, the others the most attended besides.

Published PruMerge keeps as many tokens as are outliers of the attention (above the third quartile by 1.5 interquartile
ranges), a count for each image; here the budget says how many. There every kept token takes from its 32 nearest
neighbours, so that one token can be merged into several and weights do not add up to 1, tokens enter in the order of
their attention, and one more token stands for all that went; here each goes into one, means are means, and the order is
that of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import select
from tokenpruner.base.before_decoder import Context, Method, Need
from tokenpruner.base.merging.nearest import Nearest
from tokenpruner.methods._even_cells import centres


@dataclass(frozen=True)
class PruMerge(Method):
    """Paper: Shang et al. 2025, ICCV (arXiv:2403.15388); attended tokens, each with what is near it merged in.

    `grid=0.75` is PruMerge+.
    """

    keep_ratio: float = 32 / 576
    grid: float = 0.0
    tower_layer: int = -1

    cost: ClassVar[str] = "one row of the tower's attention, 2 N n C FLOP for the keys"
    published_count: ClassVar[str] = "outliers of the attention: 32 of 576 on average, plus: 144"
    needs: ClassVar[frozenset[Need]] = frozenset({"joint_attention"})
    # each goes into the kept token with the nearest key, weighted by its attention
    merging = Nearest(by="keys", weigh_by="joint_attention")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.grid <= 1:
            raise ValueError(f"prumerge wants grid in [0, 1], got {self.grid}")

    def keep(self, context: Context, n: int) -> torch.Tensor:
        """The even grid first, then the most attended of the others."""
        attention = context.of_tower("joint_attention").clone()
        even = centres(round(n * self.grid), context.size).to(attention.device)
        # above every share of attention
        attention[even] = 2
        return select.top(attention, n)
