"""The losses of ATP-LLaVA (Ye et al., CVPR 2025) beside that of the next token.

    L        = L_next_token + atp_weight L_atp + target_weight L_target
    L_atp    = sum over cuts l of  (kept_l / N) l              a token that stays costs more the deeper the cut
    L_target = | mean over decoder layers of the tokens there are - keep_ratio N |

`kept_l` is the sum of the soft masks behind cut l, N the image's tokens, l the number of layers before the cut; both
losses are means over images. In the paper N = 576 and the target is 144 tokens, which is a quarter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from prunekernels import budget


@dataclass(frozen=True)
class Kept:
    """What soft masks left in one forward pass: `counts` [images, cuts] of `sizes` [images], in a decoder of layers."""

    counts: torch.Tensor
    sizes: torch.Tensor
    layers: tuple[int, ...]
    n_layers: int

    @property
    def mean(self) -> torch.Tensor:
        """The tokens of each image in a layer, on average over the layers; [images]."""
        edges = torch.tensor([0, *self.layers, self.n_layers]).diff().to(self.counts)
        return (torch.cat([self.sizes[:, None], self.counts], 1) * edges).sum(1) / self.n_layers


@dataclass(frozen=True)
class ATPLoss:
    """How much a kept token costs, and at which mean fraction of the tokens training aims; as in the paper."""

    keep_ratio: float = 0.25
    atp_weight: float = 0.05
    target_weight: float = 0.2

    def __post_init__(self) -> None:
        budget.check_keep_ratio(self.keep_ratio)
        for name in ("atp_weight", "target_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"want {name} of at least 0, got {getattr(self, name)!r}")

    def __call__(self, kept: Kept) -> torch.Tensor:
        """What to add to the loss of the next token; 0 where there are no images."""
        if not len(kept.sizes):
            return kept.counts.sum()
        return self.atp_weight * self.depth(kept) + self.target_weight * self.target(kept)

    def depth(self, kept: Kept) -> torch.Tensor:
        """L_atp."""
        return ((kept.counts / kept.sizes[:, None]) * torch.tensor(kept.layers).to(kept.counts)).sum(1).mean()

    def target(self, kept: Kept) -> torch.Tensor:
        """L_target."""
        return (kept.mean - self.keep_ratio * kept.sizes).mean().abs()
