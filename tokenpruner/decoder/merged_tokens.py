"""Kept tokens that stand for others: each becomes the mean of those that go into it, itself among them.

    x_k = sum_i w_i x_i / sum_i w_i

The sums are float32 or wider, in a fixed order, and gradients flow to every token that went in. Kept tokens that
nothing joins stay bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from prunekernels._sums import sum_rows
from tokenpruner.base.before_decoder import Merge
from tokenpruner.base.method_output import described


def checked_merge(merge: object, picks: torch.Tensor, size: int, name: str) -> Merge:
    """`merge` where it fits `size` tokens of which `picks` [n] are kept; raises ValueError with the method's `name`."""
    if not isinstance(merge, Merge):
        raise ValueError(f"{name}: want a Merge or None of merge, got {described(merge)}")
    merge.check(name, picks, size)
    return merge


@dataclass(frozen=True)
class MergedTokens:
    """The merges of a batch: token `source` goes into token `into`, flat places row * L + column, by `weight`; [M]."""

    source: torch.Tensor
    into: torch.Tensor
    weight: torch.Tensor

    @classmethod
    def of(cls, merge: Merge, picks: torch.Tensor, places: torch.Tensor) -> MergedTokens:
        """The merge of one image, whose tokens have the flat `places` [N]; groups of one are left out."""
        members = (merge.target >= 0).nonzero().flatten()
        members = members[merge.target[members].bincount(minlength=len(picks))[merge.target[members]] > 1]
        weight = torch.ones(len(places), device=places.device) if merge.weight is None else merge.weight
        return cls(places[members], places[picks[merge.target[members]]], weight[members])

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """`values` [B, L, D] with the mean of each group at the place of its kept token."""
        flat = values.flatten(0, 1)
        slots, ids = self.into.to(flat.device).unique(return_inverse=True)
        wide = flat.index_select(0, self.source.to(flat.device))
        wide = wide.to(torch.promote_types(wide.dtype, torch.float32))
        weight = self.weight.to(wide)[:, None]
        means = sum_rows(wide * weight, ids, len(slots)) / sum_rows(weight, ids, len(slots))
        return flat.index_copy(0, slots, means.to(flat.dtype)).view_as(values)


def concatenated(merges: list[MergedTokens]) -> MergedTokens | None:
    """The merges of several images as one; None where there are none."""
    if not merges:
        return None
    return MergedTokens(*(torch.cat([getattr(one, name) for one in merges]) for name in ("source", "into", "weight")))
