"""Token methods inside a decoder and inside a vision transformer as published, in plain torch: see token_loops.py."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.kernel_peers import tome_merge
from benchmarks.token_inputs import HEADS, Scene
from benchmarks.token_loops import Tick, density_peaks


def fastv(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """Eager attention of the layer, the mean over heads, its last row."""
    attention = _eager(scene, tick).mean(0)
    return attention[-1, : scene.n].topk(n).indices.sort().values


def pyramiddrop(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """The last token's row of attention, made by hand, with the mask that it has."""
    q, k = scene.attention.q[:, -1:], scene.attention.k
    mask = torch.zeros(1, k.shape[1]).masked_fill(torch.arange(k.shape[1]) >= k.shape[1], -torch.inf)
    attention = (q @ k.mT * scene.attention.scaling + mask).softmax(-1, dtype=torch.float32).mean(0)
    tick()
    return attention[0, : scene.n].topk(n).indices.sort().values


def dart(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """Pivots by the L1 norm of their keys; of each the tokens least like it that no other pivot has taken."""
    norms = scene.attention.k.abs().sum((0, 2))
    own, text = norms[: scene.n].topk(4).indices, norms[scene.n :].topk(4).indices
    kept = {*own.tolist()}
    share, more = divmod(n - 4, 8)
    for number, pivot in enumerate([*scene.visual[own], *scene.text[text]]):
        tick()
        left = torch.tensor([token for token in range(scene.n) if token not in kept])
        cosines = F.cosine_similarity(pivot[None], scene.visual[left], dim=-1)
        kept |= {*left[(-cosines).topk(share + (number < more)).indices].tolist()}
    return torch.tensor(sorted(kept))


def sparsevlm(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """Words about the image rate its tokens; three tenths of the others become a tenth as many by density peaks."""
    relevance = (scene.visual @ scene.text.T).softmax(-1).mean(0)
    raters = scene.n + (relevance > relevance.mean()).nonzero().flatten()
    scores = scene.attention.q[:, raters] @ scene.attention.k.mT * scene.attention.scaling
    seen = torch.arange(scores.shape[-1]) <= raters[:, None]
    attention = scores.masked_fill(~seen, -torch.inf).softmax(-1).mean((0, 1))[: scene.n]
    tick()
    n_kept = max(k for k in range(1, n + 1) if k + int(0.3 * (scene.n - k) + 1) // 10 + 1 <= n)
    kept = attention.topk(n_kept).indices
    is_other = torch.ones(scene.n, dtype=torch.bool)
    is_other[kept] = False
    others = is_other.nonzero().flatten()
    members = others[attention[others].topk(int(0.3 * len(others)) + 1).indices].sort().values
    tokens = scene.visual[members]
    centres = density_peaks(tokens, n - n_kept).topk(n - n_kept).indices
    F.one_hot(torch.cdist(tokens, tokens[centres]).argmin(1), len(centres)).float()
    return torch.cat([kept, members[centres]])


def atp(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """Logits of all pairs of image tokens, attention of all pairs, thresholds of 1/2 as of untrained modules."""
    scores = scene.attention.q @ scene.attention.k.mT * scene.attention.scaling
    tick()
    own = scores[:, : scene.n, : scene.n].mean((0, 1))
    cross = _causal(scores, tick).softmax(-1)[:, scene.n :, : scene.n].mean((0, 1))
    tick()
    scaled = [((half - half.mean()) / half.std(correction=0)).sigmoid() for half in (own, cross)]
    # a sample of half of the tokens counts 1 - 0.5 * 3 < 0 and lets none through
    return ((scaled[0] + scaled[1]) / 2 > 0.5).nonzero().flatten()


def tome(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """Matching and merging of one block."""
    hidden, keys = scene.visual[None, :, : 64 * HEADS], scene.attention.k[None, :HEADS, : scene.n].mean(1)
    tick()
    tome_merge(hidden, keys, scene.n - n)
    # who stays is not told
    return torch.empty(0, dtype=torch.int64)


def zero_tprune(scene: Scene, n: int, tick: Tick) -> torch.Tensor:
    """The whole attention of each head; one vote, the similar ones of the less important half, 30 votes on the rest."""
    q, k = (own[:HEADS, : scene.n] for own in (scene.attention.q, scene.attention.k))
    attention = (q @ k.mT * 64**-0.5).softmax(-1)
    tick()
    order = _votes(attention, 1, tick).argsort()
    less, more = order[: scene.n // 2], order[scene.n // 2 :]
    unit = F.normalize(k.mean(0), dim=-1)
    alike = (unit[less] @ unit[more].T).amax(1)
    is_left = torch.ones(scene.n, dtype=torch.bool)
    is_left[less[alike.topk(min((scene.n - n) // 2, len(less))).indices]] = False
    left = is_left.nonzero().flatten()
    attention = (q[:, left] @ k[:, left].mT * 64**-0.5).softmax(-1)
    tick()
    return left[_votes(attention, 30, tick).topk(n).indices]


def _votes(attention: torch.Tensor, iterations: int, tick: Tick) -> torch.Tensor:
    """Weighted PageRank, heads out of bounds left out, the mean square's root over the others."""
    mass = torch.full((HEADS, 1, attention.shape[-1]), 1 / attention.shape[-1])
    for _ in range(iterations):
        tick()
        mass = mass @ attention
    mass = mass[:, 0] * attention.shape[-1]
    variance = mass.var(-1, correction=0)
    heard = (variance >= 0.01) & (variance <= 0.7)
    return mass[heard if heard.any() else ~heard].square().mean(0).sqrt()


def _eager(scene: Scene, tick: Tick) -> torch.Tensor:
    """Causal attention [H, L, L] of the row."""
    scores = scene.attention.q @ scene.attention.k.mT * scene.attention.scaling
    tick()
    return _causal(scores, tick).softmax(-1)


def _causal(scores: torch.Tensor, tick: Tick) -> torch.Tensor:
    length = scores.shape[-1]
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
    tick()
    return scores.masked_fill(hidden, -torch.inf)


LOOPS: dict[str, Callable[[Scene, int, Tick], torch.Tensor]] = {
    loop.__name__: loop for loop in (fastv, pyramiddrop, dart, sparsevlm, atp, tome, zero_tprune)
}
