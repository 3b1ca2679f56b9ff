"""Token methods before the decoder as published, in plain torch: the peers of token_selection.py.

Each is written afresh from the paper's formulas as its authors' code goes about it: loops in Python where there are
loops, whole matrices where there are matrices. What is random or wrong there, and would change the picks, is left out:
batch statistics, picks in the order of attention, noise. `tick` is called in every step and raises when time is up.
All return the tokens that stay, int64 [n] in any order, and find out what goes into them; the sums are the caller's
business.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.token_inputs import Scene

Tick = Callable[[], None]


def divprune(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """All distances, then the minimum over all picks afresh in every step."""
    return _farthest(scene.visual, n, tick)


def _farthest(tokens: torch.Tensor, n: int, tick: Tick) -> torch.Tensor:
    unit = F.normalize(tokens, dim=-1)
    distances = 1 - unit @ unit.T
    tick()
    picks = torch.empty(n, dtype=torch.int64)
    picks[0] = distances.topk(2, dim=0, largest=False).values[1].argmax()
    for step in range(1, n):
        tick()
        picks[step] = distances.index_select(0, picks[:step]).amin(0).argmax()
    return picks


def spatial(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """Every fourth line and column, and DivPrune's loop over the others."""
    height, width = scene.grid
    counts = [int(side / 4 + 0.5) for side in scene.grid]
    lines, columns = (
        (2 * torch.arange(count) + 1) * side // (2 * count) for side, count in zip(scene.grid, counts, strict=True)
    )
    sampled = (lines[:, None] * width + columns).flatten()
    others = torch.ones(height * width, dtype=torch.bool)
    others[sampled] = False
    left = others.nonzero().flatten()
    return torch.cat([sampled, left[_farthest(scene.visual[left], n - len(sampled), tick)]])


def cdpruner(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """The whole kernel of relevance and cosines, then the greedy MAP inference of Chen et al."""
    unit = F.normalize(scene.visual, dim=-1)
    relevance = (unit @ F.normalize(scene.text, dim=-1).T).mean(1)
    relevance = (relevance - relevance.min()) / (relevance.max() - relevance.min())
    kernel = relevance[:, None] * (unit @ unit.T) * relevance
    tick()
    residual, factor = kernel.diagonal().clone(), torch.zeros(n, scene.n)
    picks = torch.empty(n, dtype=torch.int64)
    for step in range(n):
        tick()
        pick = residual.argmax()
        picks[step] = pick
        factor[step] = (kernel[pick] - factor[:step, pick] @ factor[:step]) / residual[pick].sqrt()
        residual -= factor[step].square()
        residual[pick] = -torch.inf
    return picks


def facility_location(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """Lazy greedy with a heap of old gains, one token evaluated at a time."""
    unit = F.normalize(scene.visual, dim=-1)
    cosines = unit @ unit.T
    tick()
    covered, picks = torch.full((scene.n,), -1.0), list[int]()
    heap = [(-gain, token, 0) for token, gain in enumerate((cosines + 1).sum(0).tolist())]
    heapq.heapify(heap)
    while len(picks) < n:
        tick()
        gain, token, known = heapq.heappop(heap)
        if known == len(picks):
            picks.append(token)
            covered = torch.maximum(covered, cosines[token])
        else:
            gain = float((cosines[token] - covered).clamp(min=0).sum())
            heapq.heappush(heap, (-gain, token, len(picks)))
    return torch.tensor(picks)


def holov(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """Crop by crop: cosines, their variance, attention, a share of the count, its best tokens."""
    attention, unit = scene.class_attention, F.normalize(scene.visual, dim=-1)
    crops = torch.arange(scene.n).tensor_split(16)
    variances = []
    for own in crops:
        tick()
        variances.append((unit[own] @ unit[own].T).var(1, correction=0))
    variance = torch.cat(variances)
    score = attention + 0.09 * attention.mean() / variance.mean() * variance
    means = torch.stack([score[own].mean() for own in crops])
    wanted = n * means / means.sum()
    counts = wanted.floor().long()
    counts[(wanted - counts).topk(n - int(counts.sum())).indices] += 1
    return torch.cat([own[score[own].topk(int(count)).indices] for own, count in zip(crops, counts, strict=True)])


def visionzip(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """The most attended tokens; of the others every so many-th, to which the rest is assigned as one-hot rows."""
    n_contextual = round(n * 10 / 64)
    dominant = scene.class_attention.topk(n - n_contextual).indices
    is_other = torch.ones(scene.n, dtype=torch.bool)
    is_other[dominant] = False
    others = is_other.nonzero().flatten()
    metric = F.normalize(scene.keys[others].mean(1), dim=-1)
    targets = torch.arange(0, len(others), max(1, len(others) // n_contextual))[:n_contextual]
    is_merged = torch.ones(len(others), dtype=torch.bool)
    is_merged[targets] = False
    tick()
    F.one_hot((metric[is_merged] @ metric[targets].T).argmax(1), n_contextual).float()
    return torch.cat([dominant, others[targets]])


def prumerge(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """The most attended tokens, one after the other joined by its 32 nearest by their keys."""
    attention, keys = scene.joint_attention, F.normalize(scene.keys.flatten(1), dim=-1)
    picks = attention.topk(n).indices
    for pick in picks:
        tick()
        (keys @ keys[pick]).topk(min(33, scene.n))
    return picks


def vispruner(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """Half by attention; of the others at most eight leave in a round, those most like one of the other half."""
    important = scene.class_attention.topk(n // 2).indices
    is_left = torch.ones(scene.n, dtype=torch.bool)
    is_left[important] = False
    left = is_left.nonzero().flatten()
    unit = F.normalize(scene.visual, dim=-1)
    while (surplus := len(left) - (n - n // 2)) > 0:
        tick()
        first, second = left[::2], left[1::2]
        similar = (unit[first] @ unit[second].T).amax(1)
        stays = similar.argsort(descending=True)[min(8, surplus) :].sort().values
        left = torch.cat([first[stays], second]).sort().values
    return torch.cat([important, left])


def prunesid(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """Groups by principal components; in each, down the order of attention, whatever the ones before crowd is left out.

    The low-rank decomposition of the published code is torch's, with noise from the global generator.
    """
    n_groups, unit = max(1, n // 4), F.normalize(scene.visual, dim=-1)
    values = scene.visual.sigmoid()
    values = values - values.mean(1, keepdim=True)
    groups = torch.pca_lowrank(values.T, q=n_groups, center=False, niter=4)[2].abs().argmax(1)
    tick()
    cosines = unit @ unit.T
    crowded = n / 32 * (cosines.sum() - scene.n) / (scene.n * (scene.n - 1))
    order, survived = [], []
    for group in range(n_groups):
        own = (groups == group).nonzero().flatten()
        left = own[scene.class_attention[own].argsort(descending=True)]
        found = []
        while len(left):
            tick()
            found.append(int(left[0]))
            left = left[1:][cosines[left[0], left[1:]] <= crowded]
        order.append(found)
        survived.append(len(found))
    wanted = n * torch.tensor(survived) / max(1, sum(survived))
    counts = wanted.floor().long()
    counts[(wanted - counts).topk(min(n_groups, n - int(counts.sum()))).indices] += 1
    return torch.tensor([token for found, count in zip(order, counts, strict=True) for token in found[: int(count)]])


def density_peaks(tokens: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Density times distance to the next denser token."""
    distance = torch.cdist(tokens, tokens) / tokens.shape[1] ** 0.5
    density = (-distance.topk(min(neighbours, len(tokens)), largest=False).values.square().mean(1)).exp()
    apart = distance.masked_fill(density <= density[:, None], torch.inf).amin(1)
    return density * torch.where(apart.isinf(), distance.max(), apart)


LOOPS: dict[str, Callable[[Scene, int, Tick], torch.Tensor]] = {
    loop.__name__: loop
    for loop in (
        divprune, spatial, cdpruner, facility_location, holov, visionzip, prumerge, vispruner, prunesid,
    )
}  # fmt: skip
