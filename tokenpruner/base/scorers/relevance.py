"""How much tokens have to do with the question, by the decoder's own embeddings.

r_i = mean over text tokens t of cos(x_i, t),      sign="negative" turns it round
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from prunekernels._unit import unit_rows
from tokenpruner.base.before_decoder import Context, ImageScorer
from tokenpruner.base.token_method import check_choice


@dataclass(frozen=True)
class Relevance(ImageScorer):
    """Paper: Zhang et al. 2025, NeurIPS, CDPruner (arXiv:2506.10967); the mean cosine with the text's tokens."""

    sign: Literal["positive", "negative"] = "positive"

    needs: ClassVar[frozenset[str]] = frozenset({"visual", "text"})

    def __post_init__(self) -> None:
        check_choice("relevance", self.sign, ("positive", "negative"))

    def score(self, context: Context) -> torch.Tensor:
        """The mean cosine with the row's text; 0 without any."""
        visual = unit_rows(context.visual)
        text = unit_rows(context.visual[:0] if context.text is None else context.text)
        relevance = visual @ text.sum(0) / max(1, len(text))
        return relevance if self.sign == "positive" else -relevance
