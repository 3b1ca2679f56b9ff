"""CDPruner (Zhang et al., NeurIPS 2025, arXiv:2506.10967): diverse tokens that have to do with the question.

    relevance   r_i = mean over text tokens of cos(x_i, t), scaled to [0, 1] over the image
    kernel      L_ij = r_i cos(x_i, x_j) r_j, of which the greedy MAP of a determinantal point process is kept

The published code takes the relevance from CLIP's text tower, which vision-language models of transformers do not have;
here as where models have none it is between the decoder's own embeddings, of all the row's text. `relevance` "negative"
turns it round, as the published code does with CLIP's, whose patches are far from the words that they show. There the
scaling is over a whole batch, so that picks hang on the other images; here it is over the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tokenpruner.base.before_decoder import Method
from tokenpruner.base.scorers.relevance import Relevance
from tokenpruner.base.selectors.dpp import Dpp


@dataclass(frozen=True)
class CDPruner(Method):
    """Paper: Zhang et al. 2025, NeurIPS (arXiv:2506.10967); diverse tokens that have to do with the question."""

    keep_ratio: float = 64 / 576
    relevance: Literal["positive", "negative"] = "positive"

    cost: ClassVar[str] = "2 N^2 D FLOP for the cosines, then n^2 N for the picks"
    published_count: ClassVar[str] = "128, 64 or 32 of 576"
    selector = Dpp()

    @property
    def scorer(self) -> Relevance:
        """Cosines with the text."""
        return Relevance(self.relevance)
