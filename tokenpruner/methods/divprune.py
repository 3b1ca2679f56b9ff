"""DivPrune (Alvar et al., CVPR 2025): keep the visual tokens that are far from each other.

Max-min diversity with cosine distance, solved greedily: the first token is the one whose nearest neighbour is
farthest, each next one has the largest distance to its nearest kept token. It reads neither text nor attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tokenpruner.base.before_decoder import Method
from tokenpruner.base.selectors.farthest_point import FarthestPoint


@dataclass(frozen=True)
class DivPrune(Method):
    """Paper: Alvar et al. 2025, CVPR (arXiv:2503.02175); tokens that are far from each other, 57 of LLaVA-1.5's 576."""

    keep_ratio: float = 0.098

    cost: ClassVar[str] = "2 N^2 D FLOP for the cosines, then N a pick"
    published_count: ClassVar[str] = "9.8 %: 56 of 576, rounded"
    selector = FarthestPoint()
