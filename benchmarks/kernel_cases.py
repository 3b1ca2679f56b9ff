"""The jobs that kernels.py times, at the shapes of real models: makers of inputs, ours, the peers, the fewest FLOPs.

The fewest FLOPs and bytes are the job's, not the code's: each pair's product once where a start needs all of them, one
QK^T where the log-sum-exp is given and two where it is not, half of them where it is causal, and every number of input
and output moved once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from benchmarks import kernel_peers as peers
from benchmarks.harness import DEVICE
from benchmarks.kernel_checks import other_result, same, same_merge, same_picks, same_recall, same_volume
from prunekernels.attention_received import attention_received
from prunekernels.bipartite_merge import bipartite_merge
from prunekernels.dpp_map import dpp_map
from prunekernels.el2n import el2n
from prunekernels.farthest_point import farthest_point
from prunekernels.kmeans import kmeans
from prunekernels.max_cosine import max_cosine
from prunekernels.page_rank import page_rank
from prunekernels.token_stats import token_stats

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
class Case:
    """A job: inputs by seed, ours, the peers, and the fewest FLOPs and bytes that it needs.

    `at_most` sets of inputs are made. Where `logits_bytes` is given, the row notes the memory beside the inputs, on a
    GPU, as a share of it.
    """

    name: str
    make: Callable[[int], Tensors]
    ours: Callable[..., object]
    peers: tuple[Peer, ...]
    flops: float
    n_bytes: float
    device: Literal["cpu", "cuda", "both"] = "both"
    at_most: int = 4
    logits_bytes: float = 0


def cases() -> list[Case]:
    """Every case that runs on this device."""
    batch, tokens = (64, 4096) if IS_GPU else (8, 2048)
    found = [
        farthest("LLaVA-1.5", 576, 57, 4096),
        farthest("LLaVA-NeXT", 2880, 283, 4096),
        farthest("video", 10_000, 1000, 3584, device="cuda"),
        k_center(20_000, 1000, 384),
        determinantal("LLaVA-1.5", 576, 64, 1024),
        determinantal("LLaVA-NeXT", 2880, 283, 1024, device="cuda"),
        ranked(batch, 12, 197, 50),
        merged(batch, 197, 768, 16),
        attention("Llama", (1, 8, 8, tokens, 64), causal=True),
        attention("Qwen2.5-VL vision", (1, 16, 16, 5184 if IS_GPU else 1296, 80), causal=False),
        attention("DeiT", (8, 12, 12, 197, 64), causal=False),
        attention_with_lse((1, 32, 8, 8192, 128), device="cuda"),
        head("SmolLM2", 2048, 49_152, 576),
        head("Llama 2", 4096, 32_000, 4096, device="cuda"),
        head("Llama 3", 4096, 128_256, 4096, device="cuda"),
        head("Qwen2.5", 4096, 152_064, 3584, device="cuda"),
        errors(8192, 1000),
        errors(65_536, 1000, device="cuda"),
        grouped(50_000, 256, 500),
        *planted(50_000, 256, 500),
    ]
    return [case for case in found if case.device in ("both", DEVICE.type)]


def farthest(model: str, n: int, picks: int, width: int, device: Literal["cuda", "both"] = "both") -> Case:
    """Visual tokens, by cosine."""
    loop = Peer("DivPrune's published loop", partial(peers.published_loop, n=picks), partial(same_picks, cosine=True))
    return Case(
        f"farthest_point, {model}: {picks:,} of {n:,} x {width}", _made(_random(n, width, dtype=HALF)),
        partial(farthest_point, n=picks), (loop,), n * n * width, n * width * HALF.itemsize, device,
    )  # fmt: skip


def k_center(n: int, picks: int, width: int) -> Case:
    """A coreset of embeddings, by distance, from row 0."""
    kept = Peer("all distances kept", partial(peers.all_distances_kept, n=picks), partial(same_picks, cosine=False))
    return Case(
        f"farthest_point, k-center: {picks:,} of {n:,} x {width}", _made(_random(n, width)),
        partial(farthest_point, n=picks, metric="euclidean", start=0), (kept,), 2 * picks * n * width,
        n * width * 4, at_most=1,
    )  # fmt: skip


def determinantal(model: str, n: int, picks: int, width: int, device: Literal["cuda", "both"] = "both") -> Case:
    """Visual tokens with a quality between 0.5 and 1."""
    x, quality = _random(n, width, dtype=HALF), _random(n, other=True)
    loop = Peer("greedy MAP loop", partial(peers.greedy_map, n=picks), same_volume)
    return Case(
        f"dpp_map, {model}: {picks} of {n:,} x {width}", _made(x, lambda seed: quality(seed).sigmoid() / 2 + 0.5),
        partial(dpp_map, n=picks), (loop,), 2 * n * picks * width + n * picks * picks, n * width * HALF.itemsize,
        device,
    )  # fmt: skip


def ranked(batch: int, heads: int, n: int, iterations: int) -> Case:
    """Weighted PageRank over the attention of a vision transformer."""
    scores = _random(batch, heads, n, n)
    loop = Peer("a product an iteration", partial(peers.unfused_page_rank, iterations=iterations))
    return Case(
        f"page_rank, DeiT: {iterations} iterations, {batch} x {heads} heads, {n} tokens",
        _made(lambda seed: scores(seed).softmax(-1)), partial(page_rank, iterations=iterations), (loop,),
        2 * batch * heads * n * n * iterations, batch * heads * n * n * 4,
    )  # fmt: skip


def merged(batch: int, n: int, width: int, r: int) -> Case:
    """ToMe in one block of a vision transformer with a class token."""
    return Case(
        f"bipartite_merge, DeiT: {r} of {n} tokens, {batch} images",
        _made(_random(batch, n, width), _random(batch, n, 64, other=True)),
        partial(bipartite_merge, r=r, protected=1), (Peer("ToMe", partial(peers.tome_merge, r=r), same_merge),),
        2 * batch * (n // 2) * (n - n // 2) * 64, 4 * batch * (n * (width + 64) + (n - r) * width),
    )  # fmt: skip


def attention(model: str, shape: tuple[int, int, int, int, int], causal: bool) -> Case:
    """Column sums of batch, query heads, key heads, tokens and head dimensions, the log-sum-exp ours to compute."""
    batch, heads, key_heads, n, width = shape
    eager = Peer("eager", partial(peers.eager_columns, causal=causal))
    return Case(
        f"attention_received, {model}: {batch} x {heads} heads, {n:,} tokens{', causal' if causal else ''}",
        _made(_random(batch, heads, n, width, dtype=HALF), _random(batch, key_heads, n, width, dtype=HALF, other=True)),
        partial(attention_received, causal=causal), (eager,), (2 if causal else 4) * batch * heads * n * n * width,
        batch * (heads + key_heads) * n * width * HALF.itemsize,
    )  # fmt: skip


def attention_with_lse(shape: tuple[int, int, int, int, int], device: Literal["cuda", "both"]) -> Case:
    """The same, causal, with the log-sum-exp that a flash-attention forward left."""
    batch, heads, key_heads, n, width = shape
    q = _random(batch, heads, n, width, dtype=HALF)
    k, v = (_random(batch, key_heads, n, width, dtype=HALF, other=other) for other in (True, False))

    def make(seed: int) -> Tensors:
        tensors = q(seed), k(seed), v(seed)
        return *tensors, peers.flash_lse(*tensors)

    return Case(
        f"attention_received, Llama 3: {heads} / {key_heads} heads, {n:,} tokens, causal, log-sum-exp given", make,
        lambda q, k, v, lse: attention_received(q, k, lse, causal=True),
        (
            Peer("eager", lambda q, k, v, lse: peers.eager_columns(q, k, causal=True)),
            Peer("one flash forward", lambda q, k, v, lse: peers.flash_forward(q, k, v), other_result),
        ),
        batch * heads * n * n * width, batch * (heads + key_heads) * n * width * HALF.itemsize, device,
    )  # fmt: skip


def head(model: str, tokens: int, words: int, width: int, device: Literal["cuda", "both"] = "both") -> Case:
    """A language model's head, the logits with a spread of 1."""
    hidden, weight = _random(tokens, width, dtype=HALF), _random(words, width, dtype=HALF, other=True)
    found = [Peer("head and log_softmax", peers.head_and_softmax)]
    if IS_GPU:
        found.append(Peer(f"{peers.named('liger-kernel')} (nll only)", peers.liger_nll))
        found.append(Peer(f"{peers.named('cut-cross-entropy')} (nll only)", peers.cce_nll))
    return Case(
        f"token_stats, {model}'s head: {tokens:,} tokens, {words:,} words x {width}",
        _made(hidden, lambda seed: weight(seed).mul_(width**-0.5), lambda _: _labels(tokens, words)),
        token_stats, tuple(found), 2 * tokens * words * width, (words + tokens) * width * HALF.itemsize, device,
        logits_bytes=tokens * words * HALF.itemsize,
    )  # fmt: skip


def errors(n: int, classes: int, device: Literal["cuda", "both"] = "both") -> Case:
    """EL2N of a classifier's logits."""
    plain = Peer("softmax, one_hot, norm", peers.softmax_one_hot_norm)
    return Case(
        f"el2n, {n:,} x {classes:,}", _made(_random(n, classes), lambda _: _labels(n, classes)), el2n, (plain,),
        5 * n * classes, 4 * n * classes, device,
    )  # fmt: skip


def grouped(n: int, width: int, groups: int) -> Case:
    """Near duplicates in random groups."""
    whole = Peer("each group's matrix", peers.groups_whole, partial(same, absolute=1e-5))
    return Case(
        f"max_cosine, {n:,} x {width} in {groups} groups", _made(_random(n, width), lambda _: _groups(n, groups)),
        lambda x, groups: max_cosine(x, groups=groups).similarity, (whole,), n * (n / groups) * width, 4 * n * width,
    )  # fmt: skip


def planted(n: int, width: int, groups: int) -> list[Case]:
    """Rows of which 2 % repeat an earlier one of their group up to noise, cosine 0.99; drops those above 0.95."""
    semhash = Peer(
        f"{peers.named('semhash')} at 0.95", lambda x, groups, rows: peers.semhash_drops(x, 0.95), same_recall
    )
    x = _random(n, width)

    def make(seed: int) -> Tensors:
        ids = _groups(n, groups)
        # a sorted row at an odd place repeats the one before it, so that no source is itself replaced
        rows = ids.argsort(stable=True)
        odd = torch.arange(1, n, 2, device=DEVICE)
        odd = odd[ids[rows[odd]] == ids[rows[odd - 1]]]
        odd = odd[torch.randperm(len(odd), generator=torch.Generator().manual_seed(seed))[: n // 50]]
        values, noise = x(seed), _random(len(odd), width, other=True)(seed)
        values[rows[odd]] = values[rows[odd - 1]] + 0.15 * noise
        return values, ids, rows[odd]

    name, pairs = f"near duplicates in {n:,} x {width}", n * (n / groups) * width
    return [
        Case(
            f"kmeans and max_cosine, {name}: {groups} groups, 2 % planted", make,
            lambda x, ids, rows: max_cosine(x, groups=kmeans(x, groups).assignment).similarity >= 0.95, (semhash,),
            # 20 iterations and the assignment at their end
            pairs + 21 * 2 * n * groups * width, 4 * n * width, "cpu", at_most=1,
        ),
        Case(
            f"max_cosine, {name}: {groups} groups given, 2 % planted", make,
            lambda x, ids, rows: max_cosine(x, groups=ids).similarity >= 0.95, (semhash,), pairs, 4 * n * width, "cpu",
            at_most=1,
        ),
    ]  # fmt: skip


def _random(*shape: int, dtype: torch.dtype = torch.float32, other: bool = False) -> Callable[[int], torch.Tensor]:
    """Normal numbers, drawn where they are used; `other` is another draw of the same seed."""
    return lambda seed: torch.randn(
        shape, generator=torch.Generator(DEVICE).manual_seed(2 * seed + other), device=DEVICE
    ).to(dtype)


def _made(*makers: Callable[[int], torch.Tensor]) -> Callable[[int], Tensors]:
    return lambda seed: tuple(make(seed) for make in makers)


def _labels(n: int, classes: int) -> torch.Tensor:
    return torch.arange(n, device=DEVICE) * 7 % classes


def _groups(n: int, groups: int) -> torch.Tensor:
    return torch.randint(0, groups, (n,), generator=torch.Generator().manual_seed(0)).to(DEVICE)
