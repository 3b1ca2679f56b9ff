"""What a user would write or take today for the same job: the peers of kernels.py, each as plain as published.

Peers in plain torch are written afresh from the papers: DivPrune's greedy loop (arXiv:2503.02175), which takes the
minimum over all picks afresh in each step; k-center with all distances kept; the greedy MAP inference of Chen et al.
(arXiv:1709.05135) on the whole matrix; PageRank as one product an iteration; ToMe's matching and merge
(arXiv:2210.09461); Lloyd's k-means. They keep their picks on the device, as the published loops do. Packages are
imported when a peer runs, so that one that is missing costs its own row and nothing else; requirements/peers.txt pins
them.
"""

from __future__ import annotations

import importlib
import importlib.metadata

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def named(package: str) -> str:
    """The package with the version that is installed here."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


def published_loop(x: torch.Tensor, n: int) -> torch.Tensor:
    """DivPrune's pseudo-code: all distances, then the minimum over all picks in every step."""
    unit = F.normalize(x.float(), dim=-1)
    distances = 1 - unit @ unit.T
    picks = torch.empty(n, dtype=torch.int64, device=x.device)
    picks[0] = distances.topk(2, dim=0, largest=False).values[1].argmax()
    for step in range(1, n):
        picks[step] = distances.index_select(0, picks[:step]).amin(0).argmax()
    return picks


def all_distances_kept(x: torch.Tensor, n: int) -> torch.Tensor:
    """k-center from row 0 with every distance to every pick in memory."""
    kept, picks = x.new_empty(n, len(x)), torch.zeros(n, dtype=torch.int64, device=x.device)
    for step in range(n - 1):
        kept[step] = (x - x[picks[step : step + 1]]).square().sum(1)
        picks[step + 1] = kept[: step + 1].amin(0).argmax()
    return picks


def greedy_map(x: torch.Tensor, quality: torch.Tensor, n: int) -> torch.Tensor:
    """Chen et al.'s incremental Cholesky on the whole matrix of one image."""
    rows = F.normalize(x.float(), dim=-1) * quality[:, None]
    matrix = rows @ rows.T
    residual, factor = matrix.diagonal().clone(), matrix.new_zeros(n, len(x))
    picks = torch.empty(n, dtype=torch.int64, device=x.device)
    for step in range(n):
        pick = residual.argmax(0, keepdim=True)
        picks[step : step + 1] = pick
        past = factor[:step]
        factor[step : step + 1] = (matrix[pick] - past[:, pick].T @ past) / residual[pick].sqrt()
        residual -= factor[step].square()
        residual[pick] = -torch.inf
    return picks


def unfused_page_rank(weights: torch.Tensor, iterations: int) -> torch.Tensor:
    """One batched product an iteration."""
    mass = weights.new_full((*weights.shape[:-2], 1, weights.shape[-1]), 1 / weights.shape[-1])
    for _ in range(iterations):
        mass = mass @ weights
    return mass[..., 0, :]


def tome_merge(tokens: torch.Tensor, metric: torch.Tensor, r: int) -> tuple[torch.Tensor, torch.Tensor]:
    """ToMe with a class token: the unmerged of A in their order, then B with what joined it; and their sizes."""
    unit = F.normalize(metric, dim=-1)
    cosines = unit[:, ::2] @ unit[:, 1::2].mT
    cosines[:, 0] = -torch.inf
    best, place = cosines.max(-1)
    edges = best.argsort(dim=-1, descending=True)
    away, stays = edges[:, :r, None], edges[:, r:].sort(dim=-1).values[..., None]
    into = place[..., None].gather(1, away)
    sizes = torch.ones_like(tokens[..., :1])
    merged = []
    for values in (tokens * sizes, sizes):
        left, right, width = values[:, ::2], values[:, 1::2], values.shape[-1]
        moved = left.gather(1, away.expand(-1, -1, width))
        joined = right.scatter_reduce(1, into.expand(-1, -1, width), moved, reduce="sum")
        merged.append(torch.cat([left.gather(1, stays.expand(-1, -1, width)), joined], 1))
    return merged[0] / merged[1], merged[1][..., 0]


def sorted_top(scores: torch.Tensor, n: int) -> torch.Tensor:
    """The `n` highest in ascending order, of equal ones the lower index: a stable sort, and one of places."""
    return scores.sort(descending=True, stable=True).indices[:n].sort().values


def ranks_of_all(scores: torch.Tensor, n: int) -> torch.Tensor:
    """The same by a rank for every item of its segment, all in one segment: two stable sorts of all."""
    ids = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
    order = scores.sort(descending=True, stable=True).indices
    order = order[ids[order].argsort(stable=True)]
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=order.device)
    return (ranks < n).nonzero().flatten()


def scattered_mean(values: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """The mean of each segment, in plain torch."""
    return values.new_zeros(int(ids.max()) + 1).scatter_reduce(0, ids, values, "mean", include_self=False)


def lloyd(x: torch.Tensor, k: int, iterations: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Spherical k-means from k random rows of seed 0: centroids and assignment, every iteration on all pairs."""
    points = F.normalize(x, dim=1)
    start = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:k]
    centroids = points[start.to(x.device)]
    for _ in range(iterations):
        nearest = (points @ centroids.T).argmax(1)
        centroids = F.normalize(torch.zeros_like(centroids).index_add_(0, nearest, points), dim=1)
    return centroids, (points @ centroids.T).argmax(1)


def groups_whole(x: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Each group's whole matrix of cosines, below its diagonal."""
    unit, best = F.normalize(x, dim=-1), x.new_full((len(x),), -1)
    for group in range(int(groups.max()) + 1):
        rows = (groups == group).nonzero().flatten()
        if len(rows):
            cosines = (unit[rows] @ unit[rows].T).tril(-1) - torch.ones(len(rows), len(rows), device=x.device).triu()
            best[rows] = cosines.amax(1)
    return best


def semhash_drops(x: torch.Tensor, threshold: float) -> torch.Tensor:
    """Which rows semhash's self-deduplication drops, from the vectors given."""
    # the records are numbers, so that no two are equal as text, and no model is asked
    records = [str(row) for row in range(len(x))]
    index = importlib.import_module("semhash").SemHash.from_embeddings(x.numpy(), records, model=None)
    dropped = torch.zeros(len(x), dtype=torch.bool)
    dropped[[int(item.record) for item in index.self_deduplicate(threshold).filtered]] = True
    return dropped


def softmax_one_hot_norm(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """EL2N as printed."""
    return (logits.softmax(-1) - F.one_hot(labels, logits.shape[1])).norm(dim=-1)


def head_and_softmax(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """nll, entropy, sum_p2 and p_label from stored logits."""
    log_p = F.linear(hidden, weight).float().log_softmax(-1)
    p = log_p.exp()
    own = log_p.gather(1, labels[:, None])[:, 0]
    return -own, -(p * log_p).sum(1), p.square().sum(1), own.exp()


def liger_nll(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Liger-Kernel's fused linear cross entropy, forward only."""
    loss = importlib.import_module("liger_kernel.transformers.functional").liger_fused_linear_cross_entropy
    # without gradients it keeps one buffer for the logits of all chunks
    with torch.no_grad():
        return (loss(hidden, weight, labels, reduction="none"),)


def cce_nll(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """cut-cross-entropy, forward only."""
    loss = importlib.import_module("cut_cross_entropy").linear_cross_entropy
    return (loss(hidden, weight, labels, reduction="none"),)


def eager_columns(q: torch.Tensor, k: torch.Tensor, causal: bool, mask: torch.Tensor | None = None) -> torch.Tensor:
    """The whole matrix as transformers' eager attention makes it, softmax in float32, summed over the rows that count.

    `mask` [B, N] is False for padding.
    """
    n = q.shape[2]
    scores = (q @ k.repeat_interleave(q.shape[1] // k.shape[1], 1).mT) * q.shape[-1] ** -0.5
    if causal:
        scores.masked_fill_(torch.ones(n, n, dtype=torch.bool, device=q.device).triu(1), -torch.inf)
    if mask is None:
        return scores.softmax(-1, dtype=torch.float32).sum(2)
    # the lowest number in place of -inf, so that a padded row is even and not NaN; it does not count
    scores.masked_fill_(~mask[:, None, None], torch.finfo(scores.dtype).min)
    probabilities = scores.softmax(-1, dtype=torch.float32).masked_fill_(~mask[:, None, :, None], 0)
    return probabilities.sum(2)


def flash_forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    """One forward of flash attention, with its own grouping of heads."""
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)


def flash_lse(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The rows' log-sum-exp [B, H, M] that causal flash attention has anyway, its output beside it."""
    group, aten = q.shape[1] // k.shape[1], torch.ops.aten
    flash = aten._scaled_dot_product_flash_attention if q.is_cuda else aten._scaled_dot_product_flash_attention_for_cpu
    return flash(q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1), 0.0, True)[1]
