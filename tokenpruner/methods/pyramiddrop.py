"""PyramidDrop (Xing et al., CVPR 2025): fewer visual tokens stage by stage, as later layers need fewer.

    importance_j = mean over heads of the attention of the last instruction token to j, in the layer at the cut

The decoder is divided into equal stages; between two of them a fraction of each image's tokens goes on. Queries
and keys are those of the stage's first layer, computed ahead of it. The authors number positions anew behind each
cut. Higher is kept; of equal ones the earlier token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tokenpruner.base.layer_budget import BudgetedLayerMethod
from tokenpruner.base.positions import Place
from tokenpruner.base.schedules.even_stages import EvenStages
from tokenpruner.base.scorers.last_token import LastToken


@dataclass(frozen=True)
class PyramidDrop(BudgetedLayerMethod):
    """Paper: Xing et al. 2025, CVPR (arXiv:2410.17247); stage by stage fewer tokens, the most attended.

    The paper's four stages, each with `keep_ratio` = half of the tokens of the one before.
    """

    keep_ratio: float = 0.5
    n_stages: int = 4

    reads: ClassVar[str] = "the last token's attention in the layer at the cut, ahead of it"
    cost: ClassVar[str] = "the keys and one row of one layer's attention at each cut"
    published_count: ClassVar[str] = "50, 25 and 12.5 % behind 8, 16 and 24 of 32 layers"
    published_positions: ClassVar[Place] = "compact"

    scorer = LastToken()

    @property
    def schedule(self) -> EvenStages:
        """Cuts at 1/4, 1/2 and 3/4 of the depth, for four stages."""
        return EvenStages(self.n_stages)
