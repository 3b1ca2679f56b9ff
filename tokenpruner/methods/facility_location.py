"""FLoC (Cho et al. 2025, arXiv:2511.00141): tokens that stand in for all the others.

    f(S) = sum_i max_{j in S} cos(x_i, x_j),      picked greedily, each time the token that adds most

It reads neither text nor attention. Where DivPrune keeps tokens that are far from each other, outliers first, this
keeps the middles of groups, large groups first. Picks are those of lazy greedy, within 1 - 1/e of the best value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tokenpruner.base.before_decoder import Method
from tokenpruner.base.selectors import facility_location


@dataclass(frozen=True)
class FacilityLocation(Method):
    """Paper: Cho et al. 2025, FLoC (arXiv:2511.00141); tokens that stand in for all the others."""

    keep_ratio: float = 0.1

    cost: ClassVar[str] = "2 N^2 D FLOP for the cosines, then N for each gain, lazily"
    published_count: ClassVar[str] = "any budget of a whole video"
    selector = facility_location.FacilityLocation()
