"""What a case of the kernels' benchmarks is, and the jobs that choose, merge and count; scoring_cases.py has others.

The fewest FLOPs and bytes are the job's, not the code's: each pair's product once where a start needs all of them, one
QK^T where the log-sum-exp is given and two where it is not, half of them where it is causal, and every number of input
and output moved once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from benchmarks import kernel_peers as peers
from benchmarks.harness import DEVICE
from benchmarks.kernel_checks import same, same_indices, same_merge, same_picks, same_sets, same_volume
from prunekernels import segments, select
from prunekernels.bipartite_merge import bipartite_merge
from prunekernels.dpp_map import dpp_map
from prunekernels.farthest_point import farthest_point
from prunekernels.page_rank import page_rank

IS_GPU = DEVICE.type == "cuda"
# what a model's numbers are here: halves on a GPU, where they have units of their own
HALF = torch.bfloat16 if IS_GPU else torch.float32

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Peer:
    """Another way to do the job; `check` refuses a result that is not ours and says what a row should note."""

    name: str
    run: Callable[..., object]
    check: Callable[..., str] = same


@dataclass(frozen=True)
class Target:
    """What a row is meant to reach: at least so many times the peer's speed, at most so many ms, or times the floor."""

    speed_up: float | None = None
    milliseconds: float | None = None
    over_floor: float | None = None


@dataclass(frozen=True)
class Case:
    """A job: inputs by seed, ours, the peers, and the fewest FLOPs and bytes that it needs.

    `at_most` sets of inputs are made. `cold` says that the real caller finds the inputs in memory and not in a cache.
    Where `logits_bytes` is given, the row notes the memory beside the inputs, on a GPU, as a share of it. `target`
    is meant against the first peer.
    """

    name: str
    make: Callable[[int], Tensors]
    ours: Callable[..., object]
    peers: tuple[Peer, ...]
    flops: float
    n_bytes: float
    at_most: int = 4
    cold: bool = False
    logits_bytes: float = 0
    target: Target | None = None


def aimed(
    case: Case, speed_up: float | None = None, milliseconds: float | None = None, over_floor: float | None = None
) -> Case:
    """`case` with a target."""
    return replace(case, target=Target(speed_up, milliseconds, over_floor))


def farthest(model: str, n: int, picks: int, width: int, dtype: torch.dtype = HALF) -> Case:
    """Visual tokens, by cosine."""
    loop = Peer("DivPrune's published loop", partial(peers.published_loop, n=picks), partial(same_picks, cosine=True))
    return Case(
        f"farthest_point, {model}: {picks:,} of {n:,} x {width}{_typed(dtype)}", made(random(n, width, dtype=dtype)),
        partial(farthest_point, n=picks), (loop,), n * n * width, n * width * dtype.itemsize,
    )  # fmt: skip


def farthest_ragged(model: str, sizes: tuple[int, ...], share: float, width: int) -> Case:
    """Images of unequal numbers of visual tokens in one padded batch; the peer takes them one after the other."""
    counts = [max(2, int(share * size)) for size in sizes]
    loop = Peer(
        "DivPrune's published loop, an image at a time",
        lambda x: [peers.published_loop(x[i, :size], counts[i]) for i, size in enumerate(sizes)],
        partial(same_sets, sizes=sizes),
    )
    return Case(
        f"farthest_point, {model}: {len(sizes)} images of {min(sizes):,} to {max(sizes):,} x {width}, padded",
        made(random(len(sizes), max(sizes), width, dtype=HALF)),
        lambda x: farthest_point(x, counts, sizes=sizes), (loop,), sum(size * size for size in sizes) * width,
        sum(sizes) * width * HALF.itemsize,
    )  # fmt: skip


def k_center(n: int, picks: int, width: int) -> Case:
    """A coreset of embeddings, by distance, from row 0."""
    kept = Peer("all distances kept", partial(peers.all_distances_kept, n=picks), partial(same_picks, cosine=False))
    return Case(
        f"farthest_point, k-center: {picks:,} of {n:,} x {width}", made(random(n, width)),
        partial(farthest_point, n=picks, metric="euclidean", start=0), (kept,), 2 * picks * n * width,
        n * width * 4, at_most=1, cold=True,
    )  # fmt: skip


def determinantal(model: str, n: int, picks: int, width: int) -> Case:
    """Visual tokens with a quality between 0.5 and 1."""
    x, quality = random(n, width, dtype=HALF), random(n, other=True)
    loop = Peer("greedy MAP loop", partial(peers.greedy_map, n=picks), same_volume)
    return Case(
        f"dpp_map, {model}: {picks} of {n:,} x {width}", made(x, lambda seed: quality(seed).sigmoid() / 2 + 0.5),
        partial(dpp_map, n=picks), (loop,), 2 * n * picks * width + n * picks * picks, n * width * HALF.itemsize,
    )  # fmt: skip


def ranked(batch: int, heads: int, n: int, iterations: int) -> Case:
    """Weighted PageRank over the attention of a vision transformer."""
    scores = random(batch, heads, n, n)
    loop = Peer("a product an iteration", partial(peers.unfused_page_rank, iterations=iterations))
    return Case(
        f"page_rank, DeiT: {iterations} iterations, {batch} x {heads} heads, {n} tokens",
        made(lambda seed: scores(seed).softmax(-1)), partial(page_rank, iterations=iterations), (loop,),
        2 * batch * heads * n * n * iterations, batch * heads * n * n * 4,
    )  # fmt: skip


def merged(batch: int, n: int, width: int, r: int) -> Case:
    """ToMe in one block of a vision transformer with a class token."""
    return Case(
        f"bipartite_merge, DeiT: {r} of {n} tokens, {batch} image{'s' * (batch > 1)}",
        made(random(batch, n, width), random(batch, n, 64, other=True)),
        partial(bipartite_merge, r=r, protected=1), (Peer("ToMe", partial(peers.tome_merge, r=r), same_merge),),
        2 * batch * (n // 2) * (n - n // 2) * 64, 4 * batch * (n * (width + 64) + (n - r) * width),
    )  # fmt: skip


def chosen(n: int, keep: int) -> Case:
    """The highest scores of a table, of which many are equal."""
    return Case(
        f"select.top: {keep:,} of {n:,}", made(lambda seed: (random(n)(seed) * 1000).round()),
        lambda scores: select.top(scores, keep),
        (
            Peer("a rank for every item", partial(peers.ranks_of_all, n=keep), same_indices),
            Peer("a stable sort", partial(peers.sorted_top, n=keep), same_indices),
        ),
        0, 4 * n + 8 * keep, cold=True,
    )  # fmt: skip


def averaged(n: int, groups: int) -> Case:
    """Means of scores over segments in any order."""
    return Case(
        f"segments.reduce: mean of {n:,} in {groups:,}", made(random(n), lambda _: segment_ids(n, groups)),
        lambda values, ids: segments.reduce(values, ids, "mean"),
        (Peer("scatter_reduce", peers.scattered_mean, partial(same, absolute=1e-4)),), 0, 12 * n + 4 * groups,
        cold=True,
    )  # fmt: skip


def random(*shape: int, dtype: torch.dtype = torch.float32, other: bool = False) -> Callable[[int], torch.Tensor]:
    """Normal numbers, drawn where they are used; `other` is another draw of the same seed."""
    return lambda seed: torch.randn(
        shape, generator=torch.Generator(DEVICE).manual_seed(2 * seed + other), device=DEVICE
    ).to(dtype)


def made(*makers: Callable[[int], torch.Tensor]) -> Callable[[int], Tensors]:
    """What all of `makers` make of a seed."""
    return lambda seed: tuple(make(seed) for make in makers)


def segment_ids(n: int, groups: int) -> torch.Tensor:
    """Random ids, the same for every seed, none of them unused."""
    return (torch.randperm(n, generator=torch.Generator().manual_seed(0)) % groups).to(DEVICE)


def _typed(dtype: torch.dtype) -> str:
    """A dtype that is not what this device's models have is worth a word."""
    return "" if dtype == HALF else f", {str(dtype).removeprefix('torch.')}"
