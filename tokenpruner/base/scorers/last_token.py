"""What the row's last token attends to inside the decoder, mean over heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tokenpruner.base.inside_decoder import LayerContext, LayerScorer, Queries


@dataclass(frozen=True)
class LastToken(LayerScorer):
    """Paper: Chen et al. 2024, ECCV, FastV (arXiv:2403.06764); the attention of the last token."""

    queries: ClassVar[Queries | None] = "last"

    def score(self, context: LayerContext) -> torch.Tensor:
        """One row of the attention that the cut reads."""
        return context.from_last()
