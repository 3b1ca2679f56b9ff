"""The losses of FTP (Li et al. 2024), of the router alone; the model is frozen.

    L          = L_distill + guide_weight L_guide + sparsity_weight L_sparsity
    L_guide    = cross entropy of p and what is computed by two rankings: first and last tokens, and by attention
    L_sparsity = mean over images and layers of |d|, times under_weight where d < 0,   d = share computed - share wanted
    L_distill  = KL(whole model || routed model), mean over tokens

Where the two rankings disagree the guide wants p = 1/2. A layer that computes too many tokens costs more than one that
computes too few, the constraint's asymmetry. The three losses are the paper's; their weights are not known to us.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from prunekernels import budget, select
from tokenpruner.methods._ftp_router import first_and_last


@dataclass(frozen=True)
class Routed:
    """What a router did in one forward pass, to all visual tokens M of images of `sizes` in K routed layers, [M, K].

    `logits` are those of p; `computed` is 1 or 0, with the gradient of p; `attention` what the router read. `shares` of
    the tokens were to pass those layers by, of the decoder's `n_layers`.
    """

    logits: torch.Tensor
    computed: torch.Tensor
    attention: torch.Tensor
    sizes: tuple[int, ...]
    shares: tuple[float, ...]
    n_layers: int

    @property
    def counts(self) -> torch.Tensor:
        """How many tokens of each image were computed, [images, K]."""
        device = self.computed.device
        sizes = torch.tensor(self.sizes, dtype=torch.int64, device=device)
        image = torch.arange(len(sizes), device=device).repeat_interleave(sizes)
        return self.computed.new_zeros(len(sizes), len(self.shares)).index_add(0, image, self.computed)

    @property
    def mean(self) -> torch.Tensor:
        """The tokens of each image that a layer computed, on average over the layers; [images]."""
        whole = torch.tensor(self.sizes).to(self.computed) * (self.n_layers - len(self.shares))
        return (whole + self.counts.sum(1)) / self.n_layers


@dataclass(frozen=True)
class FTPLoss:
    """What the router's choices cost beside the distillation."""

    guide_weight: float = 1.0
    sparsity_weight: float = 1.0
    under_weight: float = 0.1

    def __post_init__(self) -> None:
        for name in ("guide_weight", "sparsity_weight", "under_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"want {name} of at least 0, got {getattr(self, name)!r}")

    def __call__(self, routed: Routed) -> torch.Tensor:
        """What to add to the distillation; 0 where there are no images or no routed layers."""
        if not routed.logits.numel():
            return routed.logits.sum()
        return self.guide_weight * self.guide(routed) + self.sparsity_weight * self.sparsity(routed)

    def guide(self, routed: Routed) -> torch.Tensor:
        """L_guide."""
        return binary_cross_entropy_with_logits(routed.logits, guides(routed))

    def sparsity(self, routed: Routed) -> torch.Tensor:
        """L_sparsity."""
        sizes = torch.tensor(routed.sizes).to(routed.computed)[:, None]
        over = routed.counts / sizes - (1 - torch.tensor(routed.shares).to(routed.computed))
        return torch.where(over > 0, over, -self.under_weight * over).mean()


def guides(routed: Routed) -> torch.Tensor:
    """What the two rankings would compute, [M, K]: 1 both, 1/2 one of them, 0 neither."""
    wanted = torch.zeros_like(routed.logits)
    for rows, layer, n in _places(routed):
        own = wanted[rows, layer]
        own[first_and_last(len(own), n, own.device)] += 0.5
        own[select.top(routed.attention[rows, layer], n)] += 0.5
    return wanted


def distillation(
    logits: torch.Tensor, whole_logits: torch.Tensor, mask: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """L_distill of `logits` [B, L, V] from `whole_logits` of the model with all tokens, where `mask` bool [B, L]."""
    if not temperature > 0:
        raise ValueError(f"want a temperature above 0, got {temperature!r}")
    if logits.shape != whole_logits.shape or mask.shape != logits.shape[:2]:
        raise ValueError(
            f"want logits [B, L, V] twice and a mask [B, L], got {[*logits.shape]}, {[*whole_logits.shape]} "
            f"and {[*mask.shape]}"
        )
    own, whole = ((x[mask.to(x.device)].float() / temperature).log_softmax(-1) for x in (logits, whole_logits.detach()))
    return (whole.exp() * (whole - own)).sum(-1).mean() * temperature**2


def _places(routed: Routed) -> Iterator[tuple[slice, int, int]]:
    """Each image's rows, each layer, and how many tokens it shall compute."""
    first = 0
    for size in routed.sizes:
        for layer, share in enumerate(routed.shares):
            yield slice(first, first + size), layer, budget.n_keep(size, 1 - share)
        first += size
