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

from prunekernels import budget, select
from prunekernels._unit import unit_rows
from tokenpruner.base.before_decoder import Choice, Context, Method, Need

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
        return self._shared(_unlike(frames[0].video)[0], counts)

    def choose(self, frames: Sequence[Context], counts: Sequence[int]) -> Choice:
        """The tokens of each frame that are most unlike the video and the frame, all scored at once."""
        of_video, of_frames = _unlike([frame.visual for frame in frames])
        shared = self._shared(of_video, counts)
        scored = zip(of_video, of_frames, shared, strict=True)
        return Choice([select.top(video + frame, n) for video, frame, n in scored])

    def importance(self, context: Context) -> torch.Tensor:
        """How unlike each token is to the video and to its frame."""
        of_video, of_frames = _unlike(context.video or (context.visual,))
        number = context.frame if context.video else 0
        return of_video[number] + of_frames[number]

    def _shared(self, of_video: Sequence[torch.Tensor], counts: Sequence[int]) -> Sequence[int]:
        unlike = torch.stack([own.mean() for own in of_video])
        shares = 1 + (unlike / self.temperature).softmax(0) - 1 / len(of_video)
        weights = shares * torch.tensor([float(n) for n in counts], device=shares.device)
        wanted: list[int] = budget.allocate(sum(counts), [len(own) for own in of_video], weights.tolist()).tolist()
        return wanted


def _unlike(video: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """u_j and v_j of the tokens of each frame of `video`, [P, D]; float32 [P] each."""
    sizes = [len(frame) for frame in video]
    tokens = unit_rows(torch.cat([*video]))
    frames = tokens.split(sizes)
    middles = unit_rows(torch.stack([tokens.mean(0), *(frame.mean(0) for frame in frames)]))
    # tokens of length 1, but for empty ones, and middles too
    ends = torch.linalg.vecdot(tokens, tokens).split(sizes), torch.linalg.vecdot(middles, middles)
    widths = 2 * torch.tensor(WIDTHS, device=tokens.device)
    found: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for number, (frame, own) in enumerate(zip(frames, ends[0], strict=True), 1):
        for place, into in zip((0, number), found, strict=True):
            squares = own + ends[1][place] - 2 * (frame @ middles[place])
            into.append(-(-squares[:, None] / widths).exp().sum(1))
    return found
