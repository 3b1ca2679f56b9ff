"""Tokens that stand for many others and are unlike each other: the anchors of RESTORE (Cho et al. 2026).

    R_i      = sum_j cos(x_i, x_j)
    score_i  = R_i (1 - max over the j with R_j > R_i of cos(x_i, x_j)),      R_i for the largest

The tokens with the highest scores. Of tokens with equal R the earlier counts as the larger one, so that a copy is no
anchor beside its original.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import select
from prunekernels._unit import unit_rows
from prunekernels.max_cosine import max_cosine
from tokenpruner.base.parts import Selector


@dataclass(frozen=True)
class Anchors(Selector):
    """Paper: Cho et al. 2026, ICML, RESTORE (arXiv:2606.01711); tokens that many are like, unlike each other."""

    needs: ClassVar[frozenset[str]] = frozenset({"visual"})
    reads_scores: ClassVar[bool] = False

    def pick(self, features: torch.Tensor, scores: torch.Tensor | None, n: int) -> torch.Tensor:
        """The `n` highest scores."""
        unit = unit_rows(features)
        density = unit @ unit.sum(0)
        # the largest of all has none above it
        alike = max_cosine(unit, -density)
        nearest = alike.similarity.where(alike.neighbor >= 0, 0)
        return select.top(density * (1 - nearest), n)
