"""The jobs that score: attention received, a language model's head, errors, near duplicates, clusters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from benchmarks import kernel_peers as peers
from benchmarks.harness import DEVICE
from benchmarks.kernel_cases import HALF, IS_GPU, Case, Peer, Tensors, made, random
from benchmarks.kernel_checks import other_result, same, same_clusters, same_recall
from prunekernels.attention_received import attention_received
from prunekernels.el2n import el2n
from prunekernels.kmeans import kmeans
from prunekernels.max_cosine import max_cosine
from prunekernels.token_stats import token_stats

Shape = tuple[int, int, int, int, int]


def attention(model: str, shape: Shape, causal: bool) -> Case:
    """Column sums of batch, query heads, key heads, tokens and head dimensions, the log-sum-exp ours to compute."""
    batch, heads, key_heads, n, width = shape
    eager = Peer("eager", partial(peers.eager_columns, causal=causal))
    flash = Peer("one flash forward", partial(_flash, causal=causal), other_result)
    return Case(
        f"attention_received, {model}: {batch} x {_heads(shape)} heads, {n:,} tokens{', causal' if causal else ''}",
        _queries_and_keys(shape), partial(attention_received, causal=causal), (eager, flash) if IS_GPU else (eager,),
        (2 if causal else 4) * batch * heads * n * n * width, batch * (heads + key_heads) * n * width * HALF.itemsize,
    )  # fmt: skip


def attention_padded(model: str, shape: Shape) -> Case:
    """A causal batch padded on the left; half of its rows' samples have a quarter of the tokens less."""
    batch, heads, key_heads, n, width = shape
    lengths = [n - n // 4 * (i % 2) for i in range(batch)]

    def make(seed: int) -> Tensors:
        positions = torch.arange(n, device=DEVICE)
        mask = torch.stack([positions >= n - length for length in lengths])
        return *_queries_and_keys(shape)(seed), mask

    return Case(
        f"attention_received, {model}: {batch} x {_heads(shape)} heads, {n:,} tokens, causal, padded", make,
        lambda q, k, mask: attention_received(q, k, causal=True, mask=mask),
        (Peer("eager", lambda q, k, mask: peers.eager_columns(q, k, True, mask)),),
        2 * heads * width * sum(length**2 for length in lengths),
        sum(lengths) * (heads + key_heads) * width * HALF.itemsize,
    )  # fmt: skip


def attention_with_lse(model: str, shape: Shape) -> Case:
    """The same, causal, with the log-sum-exp that a flash-attention forward left."""
    batch, heads, key_heads, n, width = shape
    v = random(batch, key_heads, n, width, dtype=HALF)

    def make(seed: int) -> Tensors:
        tensors = *_queries_and_keys(shape)(seed), v(seed + 1)
        return *tensors, peers.flash_lse(*tensors)

    return Case(
        f"attention_received, {model}: {batch} x {_heads(shape)} heads, {n:,} tokens, causal, log-sum-exp given", make,
        lambda q, k, v, lse: attention_received(q, k, lse, causal=True),
        (
            Peer("one flash forward", lambda q, k, v, lse: peers.flash_forward(q, k, v, True), other_result),
            Peer("one flash forward that leaves it", lambda q, k, v, lse: peers.flash_lse(q, k, v), other_result),
            Peer("eager", lambda q, k, v, lse: peers.eager_columns(q, k, causal=True)),
        ),
        batch * heads * n * n * width, batch * (heads + key_heads) * n * width * HALF.itemsize,
    )  # fmt: skip


def head(model: str, tokens: int, words: int, width: int, dtype: torch.dtype = HALF) -> Case:
    """A language model's head, the logits with a spread of 1; its weights are cold behind the layers before it."""
    hidden, weight = random(tokens, width, dtype=dtype), random(words, width, dtype=dtype, other=True)
    found = [Peer("head and log_softmax", peers.head_and_softmax)]
    if IS_GPU:
        found.append(Peer(f"{peers.named('liger-kernel')} (nll only)", peers.liger_nll))
        found.append(Peer(f"{peers.named('cut-cross-entropy')} (nll only)", peers.cce_nll))
    typed = "" if dtype == HALF else ", float32"
    return Case(
        f"token_stats, {model}'s head: {tokens:,} tokens, {words:,} words x {width}{typed}",
        made(hidden, lambda seed: weight(seed).mul_(width**-0.5), lambda _: _labels(tokens, words)),
        token_stats, tuple(found), 2 * tokens * words * width, (words + tokens) * width * dtype.itemsize,
        cold=True, logits_bytes=tokens * words * dtype.itemsize,
    )  # fmt: skip


def errors(n: int, classes: int) -> Case:
    """EL2N of a classifier's logits."""
    plain = Peer("softmax, one_hot, norm", peers.softmax_one_hot_norm)
    return Case(
        f"el2n, {n:,} x {classes:,}", made(random(n, classes), lambda _: _labels(n, classes)), el2n, (plain,),
        5 * n * classes, 4 * n * classes,
    )  # fmt: skip


def grouped(n: int, width: int, groups: int) -> Case:
    """Near duplicates in random groups."""
    whole = Peer("each group's matrix", peers.groups_whole, partial(same, absolute=1e-5))
    return Case(
        f"max_cosine, {n:,} x {width} in {groups} groups", made(random(n, width), lambda _: _groups(n, groups)),
        lambda x, groups: max_cosine(x, groups=groups).similarity, (whole,), n * (n / groups) * width, 4 * n * width,
        cold=True,
    )  # fmt: skip


def clustered(n: int, width: int, k: int, iterations: int = 20) -> Case:
    """Spherical k-means from the same rows; ours stops early where nothing moves."""
    plain = Peer("Lloyd's loop", partial(peers.lloyd, k=k, iterations=iterations), same_clusters)
    return Case(
        f"kmeans, {n:,} x {width}: {k:,} clusters, {iterations} iterations", made(random(n, width)),
        partial(kmeans, k=k, iterations=iterations, backend="torch"), (plain,),
        (iterations + 1) * 2 * n * k * width, 4 * n * width, at_most=1, cold=True,
    )  # fmt: skip


def planted(n: int, width: int, groups: int) -> list[Case]:
    """Rows of which 2 % repeat an earlier one of their group up to noise, cosine 0.99; drops those above 0.95."""
    semhash = Peer(
        f"{peers.named('semhash')} at 0.95", lambda x, groups, rows: peers.semhash_drops(x, 0.95), same_recall
    )
    x = random(n, width)

    def make(seed: int) -> Tensors:
        ids = _groups(n, groups)
        # a sorted row at an odd place repeats the one before it, so that no source is itself replaced
        rows = ids.argsort(stable=True)
        odd = torch.arange(1, n, 2, device=DEVICE)
        odd = odd[ids[rows[odd]] == ids[rows[odd - 1]]]
        odd = odd[torch.randperm(len(odd), generator=torch.Generator().manual_seed(seed))[: n // 50]]
        values, noise = x(seed), random(len(odd), width, other=True)(seed)
        values[rows[odd]] = values[rows[odd - 1]] + 0.15 * noise
        return values, ids, rows[odd]

    name, pairs = f"near duplicates in {n:,} x {width}", n * (n / groups) * width
    return [
        Case(
            f"kmeans and max_cosine, {name}: {groups} groups, 2 % planted", make,
            lambda x, ids, rows: max_cosine(x, groups=kmeans(x, groups).assignment).similarity >= 0.95, (semhash,),
            # 20 iterations and the assignment at their end
            pairs + 21 * 2 * n * groups * width, 4 * n * width, at_most=1,
        ),
        Case(
            f"max_cosine, {name}: {groups} groups given, 2 % planted", make,
            lambda x, ids, rows: max_cosine(x, groups=ids).similarity >= 0.95, (semhash,), pairs, 4 * n * width,
            at_most=1,
        ),
    ]  # fmt: skip


def _queries_and_keys(shape: Shape) -> Callable[[int], Tensors]:
    batch, heads, key_heads, n, width = shape
    return made(random(batch, heads, n, width, dtype=HALF), random(batch, key_heads, n, width, dtype=HALF, other=True))


def _flash(q: torch.Tensor, k: torch.Tensor, causal: bool) -> torch.Tensor:
    return peers.flash_forward(q, k, k, causal)


def _heads(shape: Shape) -> str:
    return str(shape[1]) if shape[1] == shape[2] else f"{shape[1]} / {shape[2]}"


def _labels(n: int, classes: int) -> torch.Tensor:
    return torch.arange(n, device=DEVICE) * 7 % classes


def _groups(n: int, groups: int) -> torch.Tensor:
    return torch.randint(0, groups, (n,), generator=torch.Generator().manual_seed(0)).to(DEVICE)
