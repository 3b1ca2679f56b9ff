"""HoliTom (Shao et al., NeurIPS 2025, arXiv:2505.21334), its part before the decoder: still places become one token.

    still      place p between frames t and t + 1 where cos(x_t,p , x_t+1,p) > tau
    windows    the video is cut into windows [s, e] so that sum of (e - s) |places still from s to e| is largest
    static     each place that is still throughout a window of several frames is one token, the mean over its frames;
               of these the density peaks stay, in the window's first frame, and the others go into the nearest one
    dynamic    of the other tokens of each frame those that the class token reads most stay; a share `contextual` are
               density peaks of the others, which go into the nearest one
    merging    c = beta c + (1 - beta) mean of those that go into it
    counts     of all these parts in proportion to their tokens; where all of them stay and that is too few, of still
               places the tokens that moved most stay too

Published: every part keeps its own rounded count, so that the sum does not hold, and densities get noise; here the
count holds and there is none. The paper's other part, which merges inside the decoder, is not here. An image is a
window of one frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch

from prunekernels import budget, select
from prunekernels._unit import unit_rows
from tokenpruner.base.before_decoder import Choice, Context, Merge, Method, Need
from tokenpruner.methods._density_peaks import density_peaks, distances


class Part(NamedTuple):
    """Tokens of which some stay: `rows` [F, P], over F frames the place of each among all tokens of the video.

    Of one that is `static` a place's tokens are taken as one, which stands in the first frame.
    """

    rows: torch.Tensor
    is_static: bool


@dataclass(frozen=True)
class HoliTom(Method):
    """Paper: Shao et al. 2025, NeurIPS (arXiv:2505.21334); still places of a video as one token, others by attention.

    A place is still above `similarity`; a middle weighs `centre_weight` among what goes into it.
    """

    keep_ratio: float = 0.1
    similarity: float = 0.8
    contextual: float = 0.0
    centre_weight: float = 0.6
    neighbours: int = 7
    longest: int = 1024
    tower_layer: int = -1

    cost: ClassVar[str] = "one row of the tower's attention, 2 N D FLOP a frame, T^2 for the windows, 2 N^2 D for each"
    published_count: ClassVar[str] = "10 % of a video (also 15, 20, 25), each part rounded by itself"
    needs: ClassVar[frozenset[Need]] = frozenset({"visual", "class_attention"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.neighbours, self.longest) < 1:
            raise ValueError(
                f"holitom wants neighbours and longest of at least 1, got {self.neighbours} and {self.longest}"
            )
        if not (0 <= self.contextual <= 1 and 0 < self.centre_weight < 1):
            got = f"{self.contextual} and {self.centre_weight}"
            raise ValueError(f"holitom wants contextual in [0, 1] and centre_weight in (0, 1), got {got}")

    def keep(self, context: Context, n: int) -> torch.Tensor:
        """The tokens of an image that the class token reads most, and contextual ones."""
        return self.choose([context], [n]).picks[0]

    def merge(self, context: Context, picks: torch.Tensor) -> Merge | None:
        """What is not kept goes into the contextual tokens, if there are any."""
        return self.choose([context], [len(picks)]).merge

    def choose(self, frames: Sequence[Context], counts: Sequence[int]) -> Choice:
        """The middles of still places, and of each frame what else there is to see."""
        tokens = torch.cat([frame.visual for frame in frames])
        attention = torch.cat([frame.of_tower("class_attention") for frame in frames])
        sizes = [frame.size for frame in frames]
        parts = self._parts([frame.visual for frame in frames])
        room = [part.rows.shape[1] for part in parts]
        quotas = budget.allocate(min(sum(counts), sum(room)), room).tolist()
        # each token's kept one, by its place among all tokens, -1 for none
        into = torch.full((len(tokens),), -1, dtype=torch.int64, device=tokens.device)
        weight = torch.ones(len(tokens), device=tokens.device)
        for part, n in zip(parts, quotas, strict=True):
            if part.is_static:
                self._cluster(tokens, part.rows, n, into, weight)
                continue
            own = part.rows[0]
            n_middles = n - round(n * (1 - self.contextual))
            attended = select.top(attention[own], n - n_middles)
            into[own[attended]] = own[attended]
            if n_middles:
                self._cluster(tokens, own[into[own] < 0][None], n_middles, into, weight)
        places = torch.arange(len(tokens), device=tokens.device)
        if sum(counts) > sum(room):
            # all parts are whole: of still places those tokens stay by themselves too that moved most
            moved = self._moved([frame.visual for frame in frames]).masked_fill(into == places, -torch.inf)
            alone = select.top(moved, sum(counts) - sum(room))
            into[alone] = alone
        kept = into == places
        number = kept.cumsum(0) - 1
        target = torch.where(into < 0, -1, number[into.clamp(min=0)])
        return Choice([own.nonzero().flatten() for own in kept.split(sizes)], Merge(target, weight))

    def _parts(self, video: Sequence[torch.Tensor]) -> list[Part]:
        """The still places of each window, and the other tokens of each frame."""
        shared, device = min(map(len, video)), video[0].device
        units = unit_rows(torch.stack([frame[:shared] for frame in video]))
        still = torch.linalg.vecdot(units[1:], units[:-1]) > self.similarity
        first = torch.tensor([0, *map(len, video)]).cumsum(0).tolist()
        parts = []
        for start, last in windows(still, self.longest):
            is_static = still[start:last].all(0) & (last > start)
            places = is_static.nonzero().flatten()
            if len(places):
                parts.append(Part(torch.stack([first[t] + places for t in range(start, last + 1)]), True))
            for t in range(start, last + 1):
                moves = torch.ones(len(video[t]), dtype=torch.bool, device=device)
                moves[places] = False
                parts.append(Part(first[t] + moves.nonzero().flatten()[None], False))
        return parts

    def _moved(self, video: Sequence[torch.Tensor]) -> torch.Tensor:
        """How unlike each token is to the one at its place in the frame before; float32 [N], 2 where there is none."""
        found = [torch.full((len(frame),), 2.0, device=frame.device) for frame in video]
        for before, frame, own in zip(video, video[1:], found[1:], strict=False):
            shared = min(len(before), len(frame))
            own[:shared] = 1 - (unit_rows(before[:shared]) * unit_rows(frame[:shared])).sum(1)
        return torch.cat(found)

    def _cluster(
        self, tokens: torch.Tensor, rows: torch.Tensor, n: int, into: torch.Tensor, weight: torch.Tensor
    ) -> None:
        """Of the places `rows` [F, P] the `n` middles stay, in the first frame, and the others go into the nearest."""
        if not n:
            return
        means = tokens[rows].float().mean(0)
        middles = density_peaks(means, n, min(self.neighbours, n))
        owner = distances(means, means[middles]).min(1).indices
        owner[middles] = torch.arange(n, device=owner.device)
        into[rows] = rows[0, middles[owner]]
        n_others = owner.bincount(minlength=n) - 1
        is_middle = torch.zeros(len(means), dtype=torch.bool, device=owner.device)
        is_middle[middles] = True
        own = torch.where(is_middle, self.centre_weight, (1 - self.centre_weight) / n_others[owner].clamp(min=1))
        weight[rows] = own / len(rows)


def windows(still: torch.Tensor, longest: int) -> list[tuple[int, int]]:
    """First and last frame of each window; `still` bool [T - 1, P]: which places are still from a frame to the next.

    Of cuts that are equally good, the one whose last window is the shortest.
    """
    n_frames = len(still) + 1
    # where each place last moved, up to each frame: still in a window that begins there or later
    moved = torch.zeros(n_frames, still.shape[1], dtype=torch.int64, device=still.device)
    moved[1:] = torch.where(still, 0, torch.arange(1, n_frames, device=still.device)[:, None])
    moved = moved.cummax(0).values
    n_still = torch.zeros(n_frames, n_frames, dtype=torch.int64, device=still.device)
    n_still = n_still.scatter_add_(1, moved, torch.ones_like(moved)).cumsum(1).cpu()
    best, begin = torch.zeros(n_frames + 1, dtype=torch.int64), []
    for last in range(n_frames):
        starts = torch.arange(max(0, last + 1 - longest), last + 1).flip(0)
        saved = best[starts] + n_still[last, starts] * (last - starts)
        # the first of the largest
        chosen = int((saved == saved.max()).nonzero()[0])
        best[last + 1] = saved[chosen]
        begin.append(int(starts[chosen]))
    found, last = [], n_frames - 1
    while last >= 0:
        found.append((begin[last], last))
        last = begin[last] - 1
    return found[::-1]
