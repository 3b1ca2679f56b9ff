"""EVS, efficient video sampling (Bagrov et al. 2025, arXiv:2510.14624): tokens of a video that differ from before.

    dissimilarity_j = 1 - cos(x_j of this frame, x_j of the frame before),      2 in the first frame

The tokens with the largest dissimilarity of the whole video stay: the first frame goes before all others, and a still
scene keeps little else. Frames share the budget of the video, so that a frame may keep none. A single image has no
frame before it: all its tokens are alike, and the first ones stay. Tokens behind the last place of the frame before,
such as a newline at the end of a video, count as new. Reads neither text nor attention. The authors leave the tokens at
their positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import select
from prunekernels._unit import unit_rows
from tokenpruner.base.before_decoder import Choice, Context, Method, Need
from tokenpruner.base.positions import Place

# larger than any 1 - cos but for that of opposite ones
FIRST = 2.0


@dataclass(frozen=True)
class EVS(Method):
    """Paper: Bagrov et al. 2025 (arXiv:2510.14624); tokens of a video that differ from those of the frame before."""

    keep_ratio: float = 0.3

    cost: ClassVar[str] = "one pass over the embeddings: 6 N D FLOP"
    published_count: ClassVar[str] = "30 % of a video (Nemotron)"
    published_positions: ClassVar[Place] = "keep"
    needs: ClassVar[frozenset[Need]] = frozenset({"visual"})

    def share(self, frames: Sequence[Context], counts: Sequence[int]) -> Sequence[int]:
        """As many of each frame as are among the most dissimilar of all."""
        return [len(picks) for picks in self.choose(frames, counts).picks]

    def choose(self, frames: Sequence[Context], counts: Sequence[int]) -> Choice:
        """The most dissimilar of all frames."""
        units = [unit_rows(frame.visual) for frame in frames]
        before = [None, *units[:-1]]
        scores = torch.cat([_unlike(unit, other) for unit, other in zip(units, before, strict=True)])
        kept = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
        kept[select.top(scores, sum(counts))] = True
        return Choice([own.nonzero().flatten() for own in kept.split([frame.size for frame in frames])])

    def importance(self, context: Context) -> torch.Tensor:
        """How much each token differs from the one at its place in the frame before."""
        is_first = not (context.video and context.frame)
        before = None if is_first else unit_rows(context.video[context.frame - 1])
        return _unlike(unit_rows(context.visual), before)


def _unlike(unit: torch.Tensor, before: torch.Tensor | None) -> torch.Tensor:
    """How much each token of a frame differs from the one at its place in the frame before, if there is one; [N]."""
    scores = torch.full_like(unit[:, 0], FIRST)
    if before is not None:
        shared = min(len(unit), len(before))
        scores[:shared] = 1 - torch.linalg.vecdot(unit[:shared], before[:shared])
    return scores
