"""PruneSID (Fang et al., ICLR 2026, arXiv:2603.09480): tokens grouped by principal components, then thinned out.

    components  V, the first n / 4 left singular vectors of sigmoid(X), rows centred;  token i is of group argmax |V_i|
    crowded     above tau = n / 32 times the mean cosine of all pairs
    survivors   of a group, in the order of the class token's attention: those not crowded by one before them
    counts      one of each group, the others in proportion to survivors; at most 5 ceil(n / 64) of a group, and no
                more than survived, until that is too few
    kept        of each group its survivors first, the most attended ones

The published code takes the tower's features, here it is the embeddings behind the projector. It draws the noise of its
low-rank decomposition from the global generator, so that picks change from call to call; here the noise is fixed and
the decomposition is taken further, so that what it leaves out is below rounding where the spectrum falls. There a count
has one less where groups are full, and tokens enter by groups; here it holds, and the order is that of the image. How
many tokens an image gets by its redundancy, beside other images, is up to the budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import budget
from prunekernels._unit import unit_rows
from tokenpruner.base.before_decoder import Context, Method, Need

# tokens a group, n / tau of the mean cosine, and tokens for which a group may have five
PER_GROUP, CROWDED, PER_FIVE = 4, 32, 64
# of the low-rank decomposition: columns beside those asked for, and rounds
EXTRA, ROUNDS = 8, 4


@dataclass(frozen=True)
class PruneSID(Method):
    """Paper: Fang et al. 2026, ICLR (arXiv:2603.09480); groups by principal components, near-duplicates last."""

    keep_ratio: float = 64 / 576
    tower_layer: int = -2

    cost: ClassVar[str] = "one row of the tower's attention, 2 N^2 D FLOP for the cosines, 5 N D n for the components"
    published_count: ClassVar[str] = "64 of 576 (also 128, 192)"
    needs: ClassVar[frozenset[Need]] = frozenset({"visual", "class_attention"})

    def keep(self, context: Context, n: int) -> torch.Tensor:
        """The best tokens of each group, in the order of the sequence."""
        groups = principal_groups(context.visual, max(1, n // PER_GROUP))
        unit = unit_rows(context.visual)
        cosines = unit @ unit.T
        pairs = context.size * (context.size - 1)
        mean = (cosines.sum() - cosines.diagonal().sum()) / max(1, pairs)
        order = context.of_tower("class_attention").sort(descending=True, stable=True).indices
        # a token's place in the order of attention, survivors of its group before the others
        rank = torch.empty_like(order)
        rank[order] = torch.arange(context.size, device=order.device)
        survives = survivors(cosines > n / CROWDED * mean, groups, order)
        rank = rank + context.size * ~survives
        sizes, n_survivors = groups.bincount(), groups[survives].bincount(minlength=int(groups.max()) + 1)
        counts = torch.tensor(shares(n, sizes.tolist(), n_survivors.tolist()), device=order.device)
        # group after group, each in the order of its ranks
        tokens = (groups * 2 * context.size + rank).argsort()
        first = sizes.cumsum(0) - sizes
        place = torch.arange(context.size, device=order.device) - first[groups[tokens]]
        return tokens[place < counts[groups[tokens]]].sort().values


def principal_groups(tokens: torch.Tensor, n_groups: int) -> torch.Tensor:
    """The principal component that each of `tokens` [N, D] has most of; int64 [N], from 0 to under `n_groups`."""
    values = tokens.float().sigmoid()
    values = values - values.mean(1, keepdim=True)
    n_groups = min(n_groups, *values.shape)
    width = min(n_groups + EXTRA, *values.shape)
    noise = torch.randn(values.shape[1], width, generator=torch.Generator().manual_seed(0)).to(values)
    basis = torch.linalg.qr(values @ noise).Q
    for _ in range(ROUNDS):
        basis = torch.linalg.qr(values @ torch.linalg.qr(values.T @ basis).Q).Q
    inner = torch.linalg.svd(basis.T @ values, full_matrices=False).U
    return (basis @ inner)[:, :n_groups].abs().argmax(1)


def survivors(is_crowded: torch.Tensor, groups: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Which tokens no earlier survivor of their group crowds, taken in `order`; bool [N].

    `is_crowded` bool [N, N] says of two tokens that they are too similar.
    """
    crowds = (is_crowded & (groups == groups[:, None]))[order][:, order].cpu().numpy()
    left = torch.ones(len(order), dtype=torch.bool).numpy()
    for place in range(len(left)):
        if left[place]:
            left[place + 1 :] &= ~crowds[place, place + 1 :]
    found = torch.empty_like(order, dtype=torch.bool)
    found[order] = torch.from_numpy(left).to(order.device)
    return found


def shares(n: int, sizes: list[int], n_survivors: list[int]) -> list[int]:
    """How many of the groups' tokens stay, `n` in all: one of each that has any, the others by survivors."""
    most = 5 * math.ceil(n / PER_FIVE)
    upper = [min(left, most) for left in n_survivors]
    while sum(upper) < n:
        upper = [min(size, own + 1) for size, own in zip(sizes, upper, strict=True)]
    lower = [min(1, own) for own in upper]
    room = [own - least for own, least in zip(upper, lower, strict=True)]
    more = budget.allocate(n - sum(lower), room, n_survivors).tolist()
    return [least + own for least, own in zip(lower, more, strict=True)]
