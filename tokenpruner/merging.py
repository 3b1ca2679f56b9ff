"""Tokens that become one, before the decoder: a kept token may stand for others of its image.

    x_k = sum_i w_i x_i / sum_i w_i      over the tokens i that go into the kept token k, itself among them

The sums are float32 or wider, in a fixed order, and gradients flow to every token that went in. Kept tokens that
nothing joins stay bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from prunekernels._sums import sum_rows


@dataclass(frozen=True)
class Merge:
    """For one image of N tokens, n of them kept: `target` int64 [N] says into which kept token, 0 ... n - 1, each goes.

    -1 is into none. `weight` [N] is positive; None weighs all tokens alike.
    """

    target: torch.Tensor
    weight: torch.Tensor | None = None

    def check(self, name: str, picks: torch.Tensor, size: int) -> None:
        """Raise ValueError unless this fits `size` tokens of which `picks` [n] are kept; `name` is the method's."""
        target, n = self.target, len(picks)
        if target.shape != (size,) or target.dtype != torch.int64:
            raise ValueError(f"{name}: want a merge target int64 [{size}], got {target.dtype} {[*target.shape]}")
        if not ((target >= -1) & (target < n)).all():
            raise ValueError(f"{name}: want merge targets from -1 to {n - 1}, got {target.min()} to {target.max()}")
        strays = (target[picks] != torch.arange(n, device=target.device)).nonzero()
        if len(strays):
            place = int(strays[0])
            raise ValueError(f"{name}: want kept token {place} to go into itself, got {int(target[picks[place]])}")
        weight = self.weight
        if weight is not None and not (weight.shape == (size,) and bool((weight.isfinite() & (weight > 0)).all())):
            raise ValueError(f"{name}: want positive merge weights [{size}], got {[*weight.shape]}")


@dataclass(frozen=True)
class Blend:
    """The merges of a batch: token `source` goes into token `into`, flat places row * L + column, by `weight`; [M]."""

    source: torch.Tensor
    into: torch.Tensor
    weight: torch.Tensor

    @classmethod
    def of(cls, merge: Merge, picks: torch.Tensor, places: torch.Tensor) -> Blend:
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


def joined(blends: list[Blend]) -> Blend | None:
    """One blend of several images; None where there are none."""
    if not blends:
        return None
    return Blend(*(torch.cat([getattr(one, name) for one in blends]) for name in ("source", "into", "weight")))
