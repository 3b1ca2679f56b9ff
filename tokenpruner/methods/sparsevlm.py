"""SparseVLM (Zhang et al., ICML 2025, arXiv:2410.04417): words that are about the image rate its tokens.

    relevance_t = mean over the image's tokens v of softmax over the text t behind it of (v . t), as they enter
    raters      = the text whose relevance is above the mean of it
    importance  = attention of the raters to a token in the layer that is read, mean over heads and raters

Behind each of `layers`, counted from 0, the most important tokens stay. Of the others the share `recycle` of the most
important, and one more, becomes a tenth as many tokens, and one more, by density peaks (`_density_peaks`): the mean of
each group stands at the place of its centre, and counts among the tokens that stay. A budget is reached with as many
tokens kept as are, with those recycled, no more than it.

Published: 300, 200 and 110 of 576 tokens are kept, beside them 9, 4 and 3 recycled ones, told as 192 on the average but
207 in each of 32 layers. The code recycles to a group's mean, behind the kept ones, where the paper says sum; noise of
the global generator breaks ties; at least one token leaves; with one word of text there is no rater and every score is
NaN. Here all of the text rates then; without any behind the image its last token does.

With `rank_scale` the data decides: floor(rank_scale rank + rank_bias) tokens are kept, the rank that of the raters'
attention to the image, as in the first published code (13.5 and 0 for 192 tokens, 9 and 6 for 128, 0.8 and 0 for 64).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch

from prunekernels import select
from tokenpruner.base.before_decoder import Merge
from tokenpruner.base.inside_decoder import LayerContext, Stage, check_finite
from tokenpruner.base.layer_budget import BudgetedLayerMethod
from tokenpruner.base.positions import Place
from tokenpruner.base.presets import PUBLISHED, Fields
from tokenpruner.methods._density_peaks import density_groups
from tokenpruner.methods._text_attention import attention_from, behind

# of the recycled tokens there are this many in a group
GROUP = 10


class Division(NamedTuple):
    """Tokens `kept` and `centres` of what is recycled, int64, ascending; int64 [N] the group of each token, or -1."""

    kept: torch.Tensor
    centres: torch.Tensor
    group: torch.Tensor


@dataclass(frozen=True)
class SparseVLM(BudgetedLayerMethod):
    """Paper: Zhang et al. 2025, ICML (arXiv:2410.04417); words about the image rate its tokens, some others merge.

    `keep_ratio` is what is left behind the last cut; behind the others it is as much more as `stage_counts` are.
    """

    keep_ratio: float = 113 / 576
    layers: tuple[int, ...] = (2, 6, 15)
    stage_counts: tuple[int, ...] = (309, 204, 113)
    recycle: float = 0.3
    rank_scale: float | None = None
    rank_bias: float = 0.0

    reads: ClassVar[str] = "attention of words about the image in the layer before a cut; embeddings of image and text"
    cost: ClassVar[str] = "2 N T D FLOP for T words, their rows of attention, distances of what is recycled"
    published_count: ClassVar[str] = "300, 200 and 110 of 576, and 9, 4 and 3 recycled (also for 128, 64)"
    published_positions: ClassVar[Place] = "compact"
    presets: ClassVar[Mapping[str, Fields]] = {
        "llava-1.5-192": {"keep_ratio": 113 / 576, "stage_counts": (309, 204, 113), **PUBLISHED},
        "llava-1.5-128": {"keep_ratio": 39 / 576, "stage_counts": (312, 117, 39), **PUBLISHED},
        "llava-1.5-64": {"keep_ratio": 18 / 576, "stage_counts": (82, 32, 18), **PUBLISHED},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        given = f"layers={self.layers} and stage_counts={self.stage_counts}"
        if not self.layers or len(self.stage_counts) != len(self.layers):
            raise ValueError(f"want a count for each layer, got {given}")
        if min(self.stage_counts) < 1 or [*self.stage_counts] != sorted(self.stage_counts, reverse=True):
            raise ValueError(f"want counts of at least 1 that do not grow, got {given}")
        if not 0 <= self.recycle <= 1:
            raise ValueError(f"sparsevlm wants recycle in [0, 1], got {self.recycle!r}")
        if self.rank_scale is None:
            return
        if not (0 <= self.rank_scale < math.inf and math.isfinite(self.rank_bias)):
            raise ValueError(f"want a finite rank_scale of at least 0, got {self.rank_scale!r} and {self.rank_bias!r}")
        said = (self.keep_ratio, self.n_keep, self.n_average, self.flops_ratio)
        if said != (type(self).keep_ratio, None, None, None):
            raise ValueError(f"want one of rank_scale, keep_ratio, n_keep, n_average, flops_ratio, got {self}")

    @property
    def keeps_all(self) -> bool:
        """True where no image, however large, loses a token."""
        return self.rank_scale is None and super().keeps_all

    def profile(self, n_layers: int, x: float) -> tuple[Stage, ...]:
        """A cut behind each layer that is read."""
        stages = []
        for layer, count in zip(self.layers, self.stage_counts, strict=True):
            ratio = min(1.0, x * (count / self.stage_counts[-1])) if self.rank_scale is None else None
            stages.append(Stage(layer + 1, ratio, layer, "text", embeds=True))
        return tuple(stages)

    def count(self, context: LayerContext) -> int:
        """How many tokens are asked for: as the budget says, or as the rank does, recycled ones among them."""
        if self.rank_scale is None:
            return super().count(context)
        rows = context.seen().weights(self.raters(context))[..., context.columns].mean(0)
        rank = int(torch.linalg.matrix_rank(rows.float()))
        kept = max(1, min(context.n_tokens, math.floor(rank * self.rank_scale + self.rank_bias)))
        n_newlines = context.n_newlines if self.newlines == "keep" else 0
        return kept + self.n_recycled(context.n_tokens - kept) + n_newlines

    def importance(self, context: LayerContext) -> torch.Tensor:
        """What the raters attend to."""
        return attention_from(context.seen(), context.columns, self.raters(context))

    def raters(self, context: LayerContext) -> torch.Tensor:
        """The columns that rate: the text behind the image that is about it; int64, at least one."""
        rows = behind(context.columns, context.text)
        if not len(rows):
            return torch.tensor([context.seen().q.shape[1] - 1], device=context.columns.device)
        if context.embeds is None or context.text_embeds is None:
            return rows
        words = context.text_embeds[context.text > context.columns.max()].float()
        relevance = (context.embeds.float() @ words.T).softmax(-1).mean(0)
        is_rater = relevance > relevance.mean()
        return rows[is_rater] if bool(is_rater.any()) else rows

    def keep(self, context: LayerContext, n: int) -> torch.Tensor:
        """The most important tokens and the centres of what is recycled, in the order of the sequence."""
        division = self._divided(context, n)
        return torch.cat([division.kept, division.centres]).sort().values

    def merge(self, context: LayerContext, picks: torch.Tensor) -> Merge | None:
        """What is recycled goes into the centre of its group."""
        _, centres, group = self._divided(context, len(picks))
        if not len(centres):
            return None
        target = torch.full((context.n_tokens,), -1, dtype=torch.int64, device=picks.device)
        target[picks] = torch.arange(len(picks), device=picks.device)
        is_member = group >= 0
        target[is_member] = target[centres][group[is_member]]
        return Merge(target)

    def n_recycled(self, n_pruned: int) -> int:
        """How many tokens are made of those that `n_pruned` leave: a tenth of the recycled share, and one more."""
        if self.recycle == 0 or self.mode != "drop" or n_pruned < 1:
            return 0
        return self._n_members(n_pruned) // GROUP + 1

    def _n_members(self, n_pruned: int) -> int:
        return min(n_pruned, math.floor(n_pruned * self.recycle + 1e-9) + 1)

    def _divided(self, context: LayerContext, n: int) -> Division:
        """What is kept and what is recycled where `n` tokens stay: told to `keep`, and again to `merge`."""
        found = context.notes.get((self, n))
        if not isinstance(found, Division):
            scores = self.importance(context)
            check_finite(scores, context, self)
            found = self._division(context, scores, n)
            context.notes[self, n] = found
        return found

    def _division(self, context: LayerContext, scores: torch.Tensor, n: int) -> Division:
        kept = select.top(scores, self._n_kept(len(scores), n))
        group = torch.full((len(scores),), -1, dtype=torch.int64, device=scores.device)
        if len(kept) == n:
            return Division(kept, kept[:0], group)
        left = torch.ones_like(scores, dtype=torch.bool)
        left[kept] = False
        places = left.nonzero().flatten()
        members = places[select.top(scores[places], self._n_members(len(places)))]
        centres, group[members] = density_groups(context.hidden[members], n - len(kept), n - len(kept))
        return Division(kept, members[centres], group)

    def _n_kept(self, n_tokens: int, n: int) -> int:
        """How many are kept so that with what is recycled `n` stay; at least one."""
        # one more token kept is at most one recycled less: the sum grows by 0 or 1; never more recycled than kept
        most = n // 2
        return bisect_right(range(1, n + 1), n, key=lambda k: k + min(most, self.n_recycled(n_tokens - k)))
