"""HoloV (Zou et al., NeurIPS 2025, arXiv:2510.02912): the budget is spread over crops of the image.

    crops    equal stretches of the token sequence
    score    s_i = alpha a_i + beta v_i mean(a) / mean(v):  a the class token's attention, v_i the variance of the
             cosines between token i and the tokens of its crop
    budget   of a crop in proportion to the mean score of its tokens, exact in sum; in a crop the best tokens stay

The published code multiplies attention by 1000 before it scales the variance to its mean, which changes nothing, and
fixes the count at 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels._unit import unit_rows
from tokenpruner.base.before_decoder import Context, Method, Need
from tokenpruner.base.selectors.crops import Crops


@dataclass(frozen=True)
class HoloV(Method):
    """Paper: Zou et al. 2025, NeurIPS (arXiv:2510.02912); attended and varied tokens, the budget spread over crops."""

    keep_ratio: float = 64 / 576
    crops: int = 16
    alpha: float = 1.0
    beta: float = 0.09
    tower_layer: int = -2

    cost: ClassVar[str] = "one row of the tower's attention, 2 N^2 D / crops FLOP"
    published_count: ClassVar[str] = "64 of 576"
    needs: ClassVar[frozenset[Need]] = frozenset({"visual", "class_attention"})

    def __post_init__(self) -> None:
        if self.crops < 1 or self.alpha < 0 or self.beta < 0:
            raise ValueError(
                f"holov wants crops of at least 1, alpha and beta of at least 0, got {self.crops}, {self.alpha} and "
                f"{self.beta}"
            )
        super().__post_init__()

    @property
    def selector(self) -> Crops:
        """The best of each crop."""
        return Crops(self.crops)

    def importance(self, context: Context) -> torch.Tensor:
        """Attended tokens, and those unlike others of their crop."""
        attention = context.of_tower("class_attention")
        variance = _variance(unit_rows(context.visual), min(self.crops, context.size))
        scale = attention.mean() / variance.mean().clamp(min=torch.finfo(torch.float32).tiny)
        return self.alpha * attention + self.beta * scale * variance


def _variance(unit: torch.Tensor, n_crops: int) -> torch.Tensor:
    """Of each of `unit` [N, D] the variance of its cosines to the tokens of its crop; [N]."""
    size, n_longer = divmod(len(unit), n_crops)
    # the first crops have one more, where they cannot be equal
    longer, others = unit[: n_longer * (size + 1)], unit[n_longer * (size + 1) :]
    stacks = [longer.unflatten(0, (n_longer, size + 1)), others.unflatten(0, (n_crops - n_longer, size))]
    return torch.cat([(own @ own.mT).var(2, correction=0).flatten() for own in stacks if len(own)])
