"""Keep the lowest scores. A smaller keep_ratio keeps a subset of what a larger one keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from datapruner.selector import Candidates, Selector
from prunekernels import select


@dataclass(frozen=True)
class Bottom(Selector):
    """Rule: the n rows with the lowest scores."""

    def choose(self, candidates: Candidates, n_keep: Sequence[int]) -> torch.Tensor:
        return select.bottom(candidates.scores, n_keep, candidates.group_ids)
