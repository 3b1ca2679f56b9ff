"""Keep the scores around the median rank (Marion et al. 2023, When Less is More, arXiv:2309.04564).

Of N rows floor((N - n) / 2) are dropped below and the others above. Nothing is nested: a smaller keep_ratio
shifts both cuts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from datapruner.selector import Candidates, Selector
from prunekernels import select


@dataclass(frozen=True)
class Middle(Selector):
    """Paper: Marion et al. 2023 (arXiv:2309.04564); the n rows around the median score."""

    def choose(self, candidates: Candidates, n_keep: Sequence[int]) -> torch.Tensor:
        return select.middle(candidates.scores, n_keep, candidates.group_ids)
