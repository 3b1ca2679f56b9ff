"""FastV (Chen et al., ECCV 2024): behind the first layers keep the visual tokens that the last token attends to.

    importance_j = mean over heads of the attention of the last token to j, in layer K - 1

The tokens that are ranked lowest leave before layer K; the authors leave the others at their positions. Only the last
token's row of attention is computed. Higher is kept; of equal ones the earlier token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tokenpruner.base.layer_budget import BudgetedLayerMethod
from tokenpruner.base.schedules.one_cut import OneCut
from tokenpruner.base.scorers.last_token import LastToken


@dataclass(frozen=True)
class FastV(BudgetedLayerMethod):
    """Paper: Chen et al. 2024, ECCV (arXiv:2403.06764); tokens that the last token attends to go on from `layer`."""

    keep_ratio: float = 0.5
    layer: int = 2

    reads: ClassVar[str] = "the last token's attention in the layer before the cut"
    cost: ClassVar[str] = "one row of one layer's attention"
    published_count: ClassVar[str] = "50 % behind 2 layers"

    scorer = LastToken()

    @property
    def schedule(self) -> OneCut:
        """One cut."""
        return OneCut(self.layer)
