"""DART (Wen et al., EMNLP 2025, arXiv:2502.11494): duplicates of a few pivot tokens leave.

    pivots   the `image_pivots` tokens of the image and the `text_pivots` tokens of the row's text whose keys have the
             largest L1 norm, in layer K - 1
    kept     the image's pivots, then for each pivot in turn an equal share of the tokens whose hidden states are least
             similar to it by cosine, none twice; pivots with large norms first, the image's before the text's

The cut is before layer K. The published code rounds each pivot's share down, so that fewer tokens stay than are asked
for, and leaves tokens at their positions; here the shares add up to the count. Reads no attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import budget, select
from prunekernels._unit import unit_rows
from tokenpruner.base.inside_decoder import LayerContext, Stage
from tokenpruner.base.layer_budget import BudgetedLayerMethod


@dataclass(frozen=True)
class Dart(BudgetedLayerMethod):
    """Paper: Wen et al. 2025, EMNLP (arXiv:2502.11494); duplicates of a few pivots of image and text leave.

    The paper's K = 2 with four pivots of the image and four of the text.
    """

    keep_ratio: float = 0.222
    layer: int = 2
    image_pivots: int = 4
    text_pivots: int = 4

    reads: ClassVar[str] = "keys of the layer before the cut, hidden states of image and text"
    cost: ClassVar[str] = "2 N D FLOP a pivot"
    published_count: ClassVar[str] = "128 of 576, each pivot's share rounded down"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_pivots < 1 or self.text_pivots < 0:
            raise ValueError(
                f"dart wants image_pivots of at least 1 and text_pivots of at least 0, got {self.image_pivots} and "
                f"{self.text_pivots}"
            )

    def profile(self, n_layers: int, x: float) -> tuple[Stage, ...]:
        """One cut."""
        return (Stage(self.layer, x, reads=self.layer - 1, queries="last"),)

    def keep(self, context: LayerContext, n: int) -> torch.Tensor:
        """Pivots and the tokens least like them, in the order of the sequence."""
        attention = context.seen()
        norms = attention.k[:, attention.n_past :].float().abs().sum((0, 2))
        own = _largest(norms[context.columns], min(self.image_pivots, n))
        hidden = unit_rows(context.hidden)
        pivots = [hidden[own]]
        if context.text_hidden is not None and self.text_pivots and len(context.text):
            texts = _largest(norms[context.text], min(self.text_pivots, len(context.text)))
            pivots.append(unit_rows(context.text_hidden)[texts])
        unlike = -(torch.cat(pivots) @ hidden.T)
        is_kept = torch.zeros(context.n_tokens, dtype=torch.bool, device=hidden.device)
        is_kept[own] = True
        shares = budget.allocate(n - len(own), [context.n_tokens] * len(unlike))
        for row, share in zip(unlike, shares.tolist(), strict=True):
            # below every cosine, so that none is taken twice
            is_kept[select.top(row.masked_fill(is_kept, -2), share)] = True
        return is_kept.nonzero().flatten()


def _largest(norms: torch.Tensor, n: int) -> torch.Tensor:
    """The places of the `n` largest, the largest first; of equal ones the earlier."""
    places = select.top(norms, n)
    return places[norms[places].argsort(descending=True, stable=True)]
