"""The scores of ATP-LLaVA (Ye et al., CVPR 2025): how much an image's tokens are looked at, and what lets one through.

    S_self[j]  = mean over heads and the image's tokens i of  scale q_i . k_j        before the softmax
    S_cross[j] = mean over heads and the text behind the image of its attention to j  after the softmax
    S_red      = (S_self + S_cross) / 2
    margin     = max(S_red - theta_r, S_spatial - theta_s)                            > 0: the token goes on

S_self is what a token receives, the mean of a column, as S_cross is: a mean of like things. (The mean of a row
would say what a token looks for.) Before the softmax the mean of the queries can be taken first, so that no
N x N matrix is made; all of the image's queries count, those before the token too, so that a token's place in
the order of the sequence does not decide how many queries it is judged by.

The thresholds lie in (0, 1), the printed S_red in no such range: its first half is a logit, its second about one
in the number of keys. scale="unit" brings each half into (0, 1) within the image, sigmoid of its deviation from
the mean in standard deviations, and lets the thresholds depend on the mean logit and on the share of the text's
attention that the image has; scale="raw" is the printed form.

`weight` [N] says how much of each token is still there: 1 for a kept one, in training the soft mask so far. All
means are weighted by it, so that soft masks that become hard give what is had without the tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from tokenpruner.methods._atp_thresholds import Thresholds
from tokenpruner.methods._text_attention import attention_from_text
from tokenpruner.models.attention import Attention

Scale = Literal["unit", "raw"]
TINY = 1e-5


@dataclass(frozen=True)
class AttentionScores:
    """How much each of an image's N tokens is looked at, by the image itself and by the text; [N] each."""

    self_score: torch.Tensor
    cross_score: torch.Tensor
    weight: torch.Tensor

    @classmethod
    def of(
        cls, attention: Attention, columns: torch.Tensor, text: torch.Tensor, weight: torch.Tensor
    ) -> AttentionScores:
        """S_self and S_cross of the tokens at `columns` int64 [N], judged by the `text` columns behind them."""
        cross_score = attention_from_text(attention, columns, text)
        return cls(self_score(attention, columns, weight), cross_score, weight)

    def redundancy(self, scale: Scale) -> torch.Tensor:
        """S_red; [N], higher is kept."""
        if scale == "raw":
            return (self.self_score + self.cross_score) / 2
        return (standardised(self.self_score, self.weight) + standardised(self.cross_score, self.weight)) / 2

    def statistics(self, scale: Scale) -> torch.Tensor:
        """What the thresholds depend on, [2]."""
        other = mean(self.cross_score, self.weight) if scale == "raw" else self.cross_score.sum()
        return torch.stack([mean(self.self_score, self.weight), other])

    def margin(self, spatial: torch.Tensor, thresholds: Thresholds, scale: Scale) -> torch.Tensor:
        """By how much each token is above one of the two thresholds; [N]."""
        theta_r, theta_s = thresholds(self.statistics(scale))
        return torch.maximum(self.redundancy(scale) - theta_r, spatial.to(self.self_score) - theta_s)


def self_score(attention: Attention, columns: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """S_self: the mean score before the softmax that each token at `columns` gets from the queries of all; [N]."""
    dtype = torch.promote_types(attention.q.dtype, torch.float32)
    q = attention.q[:, columns].to(dtype)
    k = attention.k[:, attention.n_past + columns].to(dtype)
    query = (q * weight[:, None]).sum(1) / weight.sum().clamp(min=TINY)
    # heads that share keys share their mean too
    query = query.unflatten(0, (len(k), -1)).mean(1)
    return attention.scaling * (k @ query[..., None])[..., 0].mean(0)


def mean(scores: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The mean of `scores` [N] weighted by `weight` [N]."""
    return (scores * weight).sum() / weight.sum().clamp(min=TINY)


def standardised(scores: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`scores` [N] as the sigmoid of standard deviations above their mean; 1/2 where all are equal."""
    centred = scores - mean(scores, weight)
    # what is below the rounding of the scores is no deviation
    floor = (TINY * (scores * weight).detach().abs().amax()).square() + TINY**4
    return (centred / (mean(centred.square(), weight) + floor).sqrt()).sigmoid()
