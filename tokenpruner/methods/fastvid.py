"""FastVID (Shen et al., NeurIPS 2025, arXiv:2503.11187): salient tokens of each frame, and middles of each segment.

    segments    the video is cut behind frame t where cos(g_t, g_t+1) is one of the c - 1 lowest or below tau
    salient     of a frame's n tokens n - floor(d n) are those that the class token reads most
    anchors     the floor(d n) of all frames of a segment go to its every p-th frame, counted from the last, in equal
                parts: the density peaks of the tokens that are not salient
    merging     each token of the segment that is not salient goes into the anchor nearest by cosine, which becomes
                beta a + (1 - beta) mean of those that went into it, itself among them

g is the mean of the frame's embeddings; the published code has that of SigLIP's pooling head, which models of
transformers leave out. There each anchor frame merges all tokens of the segment once more, here a token goes into one
anchor; the division among anchor frames loses its remainder and densities get noise, here the count holds and there is
none. Where anchors are more than their frames have tokens for, the rest are salient ones. An image is a video of one
frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import budget, select
from prunekernels._unit import unit_rows
from tokenpruner.base.before_decoder import Choice, Context, Merge, Method, Need
from tokenpruner.methods._density_peaks import density_peaks


@dataclass(frozen=True)
class FastVID(Method):
    """Paper: Shen et al. 2025, NeurIPS (arXiv:2503.11187); salient tokens, and middles that others go into.

    At least `segments` are cut, and wherever frames are less similar than `similarity`; a share `contextual` of the
    tokens are anchors, in every `step`-th frame, and weigh `anchor_weight` among what goes into them.
    """

    keep_ratio: float = 0.1
    segments: int = 8
    similarity: float = 0.9
    contextual: float = 0.4
    step: int = 4
    anchor_weight: float = 0.6
    neighbours: int = 4
    tower_layer: int = -1

    cost: ClassVar[str] = "one row of the tower's attention, 2 N^2 D FLOP a frame for its density, N n D to merge"
    published_count: ClassVar[str] = "10 % of a video"
    needs: ClassVar[frozenset[Need]] = frozenset({"visual", "class_attention"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.segments, self.step, self.neighbours) < 1:
            got = f"{self.segments}, {self.step} and {self.neighbours}"
            raise ValueError(f"fastvid wants segments, step and neighbours of at least 1, got {got}")
        if not (0 <= self.contextual <= 1 and 0 <= self.anchor_weight < 1):
            got = f"{self.contextual} and {self.anchor_weight}"
            raise ValueError(f"fastvid wants contextual in [0, 1] and anchor_weight in [0, 1), got {got}")

    def keep(self, context: Context, n: int) -> torch.Tensor:
        """Salient tokens and anchors of an image."""
        return self.choose([context], [n]).picks[0]

    def merge(self, context: Context, picks: torch.Tensor) -> Merge | None:
        """What is not salient goes into the anchors of the image."""
        return self.choose([context], [len(picks)]).merge

    def choose(self, frames: Sequence[Context], counts: Sequence[int]) -> Choice:
        """Salient tokens and anchors of each frame, and what goes into the anchors of each segment."""
        device = frames[0].visual.device
        first = torch.tensor([0, *(frame.size for frame in frames)]).cumsum(0).tolist()
        # of all tokens: which are salient or anchors, and of which segment the others are
        is_salient = torch.zeros(first[-1], dtype=torch.bool, device=device)
        is_anchor, segment = is_salient.clone(), torch.zeros_like(is_salient, dtype=torch.int64)
        for number, own in enumerate(self._segments(frames)):
            anchors = self._anchors([frames[t].size for t in own], [counts[t] for t in own])
            for t, n_anchors, n in zip(own, *anchors, strict=True):
                salient, middles = self._of_frame(frames[t], n, n_anchors)
                is_salient[first[t] + salient], is_anchor[first[t] + middles] = True, True
                segment[first[t] : first[t + 1]] = number
        kept = is_salient | is_anchor
        picks = [own.nonzero().flatten() for own in kept.split([frame.size for frame in frames])]
        tokens = torch.cat([frame.visual for frame in frames])
        return Choice(picks, self._merged(tokens, kept, is_anchor, segment))

    def _segments(self, frames: Sequence[Context]) -> Iterator[range]:
        """The numbers of the frames of each segment."""
        means = unit_rows(torch.stack([frame.visual.float().mean(0) for frame in frames]))
        similar = (means[:-1] * means[1:]).sum(1)
        cuts = {*select.bottom(similar, min(self.segments - 1, len(similar))).tolist()}
        cuts |= {*(similar < self.similarity).nonzero().flatten().tolist()}
        start = 0
        for last in sorted({*cuts, len(frames) - 1}):
            yield range(start, last + 1)
            start = last + 1

    def _anchors(self, sizes: Sequence[int], counts: Sequence[int]) -> tuple[list[int], list[int]]:
        """How many anchors each frame of a segment has, and how many tokens with its salient ones."""
        own = [int(n * self.contextual) for n in counts]
        salient = [n - n_anchors for n, n_anchors in zip(counts, own, strict=True)]
        room = [size - n for size, n in zip(sizes, salient, strict=True)]
        is_home = [(len(sizes) - 1 - place) % self.step == 0 for place in range(len(sizes))]
        homes = [n if home else 0 for n, home in zip(room, is_home, strict=True)]
        n_anchors = min(sum(own), sum(homes))
        anchors = budget.allocate(n_anchors, homes, [float(home) for home in is_home]).tolist()
        # what anchor frames have no room for
        left = [n - n_own for n, n_own in zip(room, anchors, strict=True)]
        more = budget.allocate(sum(own) - n_anchors, left).tolist()
        return anchors, [sum(each) for each in zip(salient, more, anchors, strict=True)]

    def _of_frame(self, frame: Context, n: int, n_anchors: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The salient tokens of a frame, and its anchors, `n` of both together."""
        salient = select.top(frame.of_tower("class_attention"), n - n_anchors)
        is_other = torch.ones(frame.size, dtype=torch.bool, device=salient.device)
        is_other[salient] = False
        others = is_other.nonzero().flatten()
        if not n_anchors:
            return salient, others[:0]
        return salient, others[density_peaks(frame.visual[others], n_anchors, self.neighbours)]

    def _merged(
        self, tokens: torch.Tensor, kept: torch.Tensor, is_anchor: torch.Tensor, segment: torch.Tensor
    ) -> Merge:
        """The tokens [N, D] that are no picks go into the nearest anchor of their segment."""
        target = torch.full((len(tokens),), -1, dtype=torch.int64, device=tokens.device)
        target[kept] = torch.arange(int(kept.sum()), device=tokens.device)
        unit, weight = unit_rows(tokens), torch.ones(len(tokens), device=tokens.device)
        for number in range(int(segment.max()) + 1):
            own = segment == number
            anchors, left = (own & is_anchor).nonzero().flatten(), (own & ~kept).nonzero().flatten()
            if len(anchors) and len(left):
                nearest = (unit[left] @ unit[anchors].T).max(1).indices
                target[left] = target[anchors[nearest]]
                members = 1 + nearest.bincount(minlength=len(anchors))
                weight[left] = (1 - self.anchor_weight) / members[nearest]
                weight[anchors] = self.anchor_weight + (1 - self.anchor_weight) / members
        return Merge(target, weight)
