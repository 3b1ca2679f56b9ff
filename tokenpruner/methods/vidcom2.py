"""VidCom2 (Liu et al., EMNLP 2025, arXiv:2505.14454): frames and tokens that are unlike the rest of the video.

    near(x, c) = sum over a of exp(-|x - c|^2 / (2 a)),  a = 1/8, 1/4, 1/2, 1, 2,  x and c of length 1
    of video   u_j = -near(x_j, mean of all tokens);       of frame   v_j = -near(x_j, mean of the frame's tokens)
    a frame    keeps in proportion to 1 + p_t - 1 / T,     p = softmax over frames of (mean u_t - max) / temperature
    a token    with the largest u_j + v_j of its frame stays

Counts of the frames add up to what is asked for; the published code rounds each by itself. An image is a video of one
frame. Reads neither text nor attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import budget
from prunekernels._unit import unit_rows
from tokenpruner.base.before_decoder import Context, Method, Need

WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class VidCom2(Method):
    """Paper: Liu et al. 2025, EMNLP (arXiv:2505.14454); frames and tokens that are unlike the rest of the video."""

    keep_ratio: float = 0.25
    temperature: float = 0.01

    cost: ClassVar[str] = "a few passes over the embeddings of the video, for each of its frames"
    published_count: ClassVar[str] = "25 % of a video, each frame rounded by itself"
    needs: ClassVar[frozenset[Need]] = frozenset({"visual"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature <= 0:
            raise ValueError(f"vidcom2 wants a temperature above 0, got {self.temperature}")

    def share(self, frames: Sequence[Context], counts: Sequence[int]) -> Sequence[int]:
        """More of frames that are unlike the video as a whole."""
        centre = _centre(torch.cat(frames[0].video))
        unlike = torch.stack([-_near(unit_rows(frame.visual), centre).mean() for frame in frames])
        shares = 1 + (unlike / self.temperature).softmax(0) - 1 / len(frames)
        weights = shares * torch.tensor([float(n) for n in counts], device=shares.device)
        wanted: list[int] = budget.allocate(sum(counts), [frame.size for frame in frames], weights.tolist()).tolist()
        return wanted

    def importance(self, context: Context) -> torch.Tensor:
        """How unlike each token is to the video and to its frame."""
        own = unit_rows(context.visual)
        whole = torch.cat(context.video) if context.video else context.visual
        return -_near(own, _centre(whole)) - _near(own, _centre(context.visual))


def _centre(tokens: torch.Tensor) -> torch.Tensor:
    """The mean direction of `tokens` [N, D], of length 1."""
    return unit_rows(unit_rows(tokens).mean(0, keepdim=True))[0]


def _near(tokens: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    squares = (tokens - centre).square().sum(-1)
    return torch.stack([(-squares / (2 * width)).exp() for width in WIDTHS]).sum(0)
