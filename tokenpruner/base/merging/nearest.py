"""Every token that goes is merged into the kept one that is most like it, by cosine.

    by="visual"    of the embeddings behind the projector
    by="keys"      of the vision tower's keys, the heads one after another (PruMerge)

`weigh_by` names what of the vision tower weighs the tokens in the mean; empty weighs all alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from prunekernels._unit import unit_rows
from tokenpruner.base.before_decoder import Context, Merge, Merging
from tokenpruner.base.token_method import check_choice


@dataclass(frozen=True)
class Nearest(Merging):
    """Rule: into the most similar kept token."""

    by: Literal["visual", "keys"] = "visual"
    weigh_by: Literal["", "class_attention", "joint_attention"] = ""

    def __post_init__(self) -> None:
        check_choice("by", self.by, ("visual", "keys"))
        check_choice("weigh_by", self.weigh_by, ("", "class_attention", "joint_attention"))
        # a field of the class would say it of all
        object.__setattr__(self, "needs", frozenset(filter(None, (self.by, self.weigh_by))))

    def merge(self, context: Context, picks: torch.Tensor) -> Merge:
        """Where each token goes, and how much it weighs there."""
        features = context.visual if self.by == "visual" else context.of_tower("keys").flatten(1)
        target = into_nearest(unit_rows(features), picks, torch.arange(len(picks), device=picks.device))
        if not self.weigh_by:
            return Merge(target)
        # attention that float32 rounds to 0 still weighs something
        return Merge(target, context.of_tower(self.weigh_by).clamp(min=torch.finfo(torch.float32).tiny))


def into_nearest(unit: torch.Tensor, picks: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Into which of the kept tokens `picks` [n] each of those with `unit` [N, D] goes; int64 [N].

    Only those at `places` int64 of `picks` take others; -1 goes into none, where there are no such.
    """
    target = torch.full((len(unit),), -1, dtype=torch.int64, device=picks.device)
    target[picks] = torch.arange(len(picks), device=picks.device)
    left = (target < 0).nonzero().flatten()
    if len(places):
        target[left] = places[(unit[left] @ unit[picks[places]].T).max(1).indices]
    return target


def left_over(size: int, picks: torch.Tensor) -> torch.Tensor:
    """Those of `size` tokens that are no `picks`, int64, ascending."""
    is_left = torch.ones(size, dtype=torch.bool, device=picks.device)
    is_left[picks] = False
    return is_left.nonzero().flatten()
