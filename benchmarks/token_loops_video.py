"""Token methods for videos as published, in plain torch: see token_loops.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from benchmarks.token_inputs import Scene
from benchmarks.token_loops import Tick, density_peaks


def evs(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """One minus the cosine to the place in the frame before, over the whole video at once."""
    video = scene.visual.unflatten(0, (scene.n_frames, -1))
    unlike = 1 - F.cosine_similarity(video[1:], video[:-1], dim=-1)
    unlike = torch.cat([torch.full_like(unlike[:1], 255), unlike]).flatten()
    tick()
    return unlike.argsort(descending=True, stable=True)[:n]


def vidcom2(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """Gaussian similarities to the middle of the video and of each frame; a softmax over frames shares the count."""
    widths = (0.125, 0.25, 0.5, 1.0, 2.0)
    video = F.normalize(scene.visual.unflatten(0, (scene.n_frames, -1)), dim=-1)
    middle = F.normalize(video.mean((0, 1)), dim=-1)
    own = F.normalize(video.mean(1, keepdim=True), dim=-1)
    of_video, of_frame = (
        -torch.stack([(-(video - centre).square().sum(-1) / (2 * width)).exp() for width in widths]).sum(0)
        for centre in (middle, own)
    )
    tick()
    p = (of_video.mean(1) / 0.01).softmax(0)
    wanted = n / scene.n_frames * (1 + p - 1 / scene.n_frames)
    counts = wanted.clamp(max=video.shape[1]).floor().long()
    counts[(wanted - counts).topk(max(0, n - int(counts.sum()))).indices] += 1
    score, size = of_video + of_frame, video.shape[1]
    return torch.cat([t * size + score[t].topk(int(counts[t])).indices for t in range(scene.n_frames)])


def fastvid(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """Segments; of each frame the most attended tokens; in every fourth one density peaks, which the rest goes into."""
    video, size = scene.visual.unflatten(0, (scene.n_frames, -1)), scene.n // scene.n_frames
    attention = scene.class_attention.unflatten(0, (scene.n_frames, -1))
    middles = F.normalize(video.mean(1), dim=-1)
    similar = (middles[1:] * middles[:-1]).sum(1)
    cuts = {*similar.topk(min(7, len(similar)), largest=False).indices.tolist()}
    ends = sorted(cuts | {*(similar < 0.9).nonzero().flatten().tolist()} | {scene.n_frames - 1})
    each = n // scene.n_frames
    n_middles, picks, start = int(0.4 * each), [], 0
    for end in ends:
        own = range(start, end + 1)
        homes = [t for t in own if (end - t) % 4 == 0]
        share, more = divmod(n_middles * len(own), len(homes))
        anchors = []
        for t in own:
            tick()
            salient = attention[t].topk(each - n_middles).indices
            picks.append(t * size + salient)
            is_other = torch.ones(size, dtype=torch.bool)
            is_other[salient] = False
            if t in homes:
                others = is_other.nonzero().flatten()
                count = share + (homes.index(t) < more)
                anchors.append(t * size + others[density_peaks(video[t, others], 4).topk(count).indices])
        found = torch.cat(anchors)
        _assigned(scene.visual[start * size : (end + 1) * size], scene.visual[found])
        picks.append(found)
        start = end + 1
    return torch.cat(picks)


def holitom(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """Windows by dynamic programming; places still throughout one are clustered, others go by attention."""
    video, size = F.normalize(scene.visual.unflatten(0, (scene.n_frames, -1)), dim=-1), scene.n // scene.n_frames
    still = (video[1:] * video[:-1]).sum(-1) > 0.8
    saved, begin = [0], []
    for last in range(scene.n_frames):
        best = (-1, 0)
        is_still = torch.ones(size, dtype=torch.bool)
        for first in range(last, -1, -1):
            tick()
            if first < last:
                is_still = is_still & still[first]
            best = max(best, (saved[first] + (last - first) * int(is_still.sum()), first))
        saved.append(best[0])
        begin.append(best[1])
    parts, last = list[tuple[torch.Tensor, bool]](), scene.n_frames - 1
    while last >= 0:
        parts = [*_window(begin[last], last, still, size), *parts]
        last = begin[last] - 1
    counts = _rounded(n, [rows.shape[1] for rows, _ in parts])
    picks = []
    for (rows, is_static), count in zip(parts, counts, strict=True):
        tick()
        if not is_static:
            picks.append(rows[0, scene.class_attention[rows[0]].topk(count).indices])
        elif count:
            means = scene.visual[rows].mean(0)
            centres = density_peaks(means, min(7, count)).topk(count).indices
            _assigned(means, means[centres])
            picks.append(rows[0, centres])
    return torch.cat(picks)


def _window(first: int, last: int, still: torch.Tensor, size: int) -> list[tuple[torch.Tensor, bool]]:
    """Places that are still from `first` to `last`, [F, P], then the others of each frame."""
    is_static = still[first:last].all(0) if first < last else torch.zeros(size, dtype=torch.bool)
    places, others = is_static.nonzero().flatten(), (~is_static).nonzero().flatten()
    frames = torch.arange(first, last + 1)[:, None] * size
    found = [(frames + places, True)] if len(places) else []
    return [*found, *((own[None] + others, False) for own in frames)]


def _assigned(tokens: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Every token to the most similar centre, as one-hot rows."""
    cosines = F.normalize(tokens, dim=-1) @ F.normalize(centres, dim=-1).T
    return F.one_hot(cosines.argmax(1), len(centres)).float()


def _rounded(n: int, sizes: Sequence[int]) -> list[int]:
    """`n` in proportion to `sizes`, by largest remainder."""
    wanted = n * torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
    counts = wanted.floor().long()
    counts[(wanted - counts).sort(descending=True, stable=True).indices[: n - int(counts.sum())]] += 1
    return [int(count) for count in counts]


LOOPS: dict[str, Callable[[Scene, int, Tick], torch.Tensor]] = {
    loop.__name__: loop for loop in (evs, vidcom2, fastvid, holitom)
}
