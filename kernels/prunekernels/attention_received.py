"""How much attention each position receives: column sums of softmax attention, without the matrix.

    received_j = sum_i softmax_j(q_i . k_j / sqrt(D))      over the query rows i that count

The score behind FastV, VisionZip, ATP-LLaVA, H2O and Zero-TPrune; higher means that more is read from j. A head's
sums add up to the number of its query rows. Floor: one QK^T, 2 M N D FLOP a head, where the rows' log-sum-exp is
at hand (flash attention returns it), and two where it is not. The kernel gives each program a tile of keys and
walks over the queries, so that nothing is added atomically and two runs give the same bits.
"""

from __future__ import annotations

import torch

from prunekernels._attention import HIDDEN, Rows, columns_triton, lse_triton
from prunekernels._backend import Backend, use_triton

# the reference holds this many probabilities at a time: 4 MiB of float32, which a CPU's cache holds
MAX_SCORES = 2**20


def attention_received(
    q: torch.Tensor,
    k: torch.Tensor,
    lse: torch.Tensor | None = None,
    causal: bool = False,
    query_rows: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    *,
    backend: Backend = "auto",
) -> torch.Tensor:
    """Column sums for queries `q` [B, H, M, D] and keys `k` [B, G, N, D], G dividing H; returns float32 [B, H, N].

    `lse` [B, H, M] is the rows' natural log-sum-exp of the scaled scores, computed where it is not given. With
    `causal` the queries stand at the last M of the N positions. `query_rows`, int64 [R] or [B, R], names the rows
    that count (-1 names none). `mask` [B, N] is bool, False for padding, or int64 sequence numbers of packed
    sequences, 0 for padding: attention stays inside a sequence. Queries at padding do not count where M = N or
    `causal`. Scores are scaled by 1 / sqrt(D). Raises ValueError for other shapes, and for NaN or infinity with
    the place named.
    """
    _check(q, k, lse, causal, query_rows, mask)
    rows = plain_rows(q, k, lse, causal, query_rows, mask)
    weights = (rows.numbers != 0).float()[:, None].expand(rows.q.shape[:3])
    received = weighted_columns(rows, k, weights, use_triton(q, backend))
    if not received.isfinite().all():
        where = [int(index) for index in (~received.isfinite()).nonzero()[0]]
        raise ValueError(f"head {where[1]} of sample {where[0]} has NaN or infinity in q, k or lse")
    return received.float()


def plain_rows(
    q: torch.Tensor,
    k: torch.Tensor,
    lse: torch.Tensor | None = None,
    causal: bool = False,
    query_rows: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
) -> Rows:
    """The rows that `attention_received` describes; unlike there, nothing is checked."""
    n_samples, n_queries, n_keys = len(q), q.shape[2], k.shape[2]
    device = q.device
    key_numbers = torch.ones(n_samples, n_keys, dtype=torch.int64, device=device) if mask is None else mask.long()
    at_keys = causal or n_queries == n_keys
    if at_keys:
        numbers = key_numbers[:, n_keys - n_queries :]
    else:
        numbers = torch.ones(n_samples, n_queries, dtype=torch.int64, device=device)
    positions = torch.arange(n_keys - n_queries, n_keys, device=device).expand(n_samples, -1)
    if query_rows is not None:
        chosen = query_rows.expand(n_samples, -1)
        index = chosen.clamp(min=0)
        numbers = numbers.gather(1, index).masked_fill(chosen < 0, 0)
        positions = positions.gather(1, index)
        q = q.gather(2, index[:, None, :, None].expand(-1, q.shape[1], -1, q.shape[3]))
        lse = None if lse is None else lse.gather(2, index[:, None].expand(-1, q.shape[1], -1))
    if not causal:
        positions = torch.full_like(positions, n_keys)
    sees_all = not causal and mask is None and query_rows is None
    return Rows(q, lse, positions.contiguous(), numbers.contiguous(), key_numbers.contiguous(), sees_all)


def weighted_columns(rows: Rows, k: torch.Tensor, weights: torch.Tensor, triton: bool) -> torch.Tensor:
    """sum_i weights_i softmax_j(q_i . k_j / sqrt(D)) for `weights` [B, H, R]; returns [B, H, N]."""
    if not weights.numel() or not k.shape[2]:
        return torch.zeros(*weights.shape[:2], k.shape[2], dtype=weights.dtype, device=k.device)
    return (columns_triton if triton else _columns_torch)(rows, k, weights)


def log_sum_exp(rows: Rows, k: torch.Tensor, triton: bool) -> torch.Tensor:
    """The rows' log-sum-exp of the scaled scores, [B, H, R]; HIDDEN or less where a row sees no key."""
    if triton:
        return lse_triton(rows, k)
    return torch.cat([_scores(rows, k, block).logsumexp(-1) for block in _blocks(rows, k)], 2)


def _columns_torch(rows: Rows, k: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Reference: softmax of a block of rows, weighted and summed over them."""
    received = torch.zeros(1, dtype=torch.promote_types(rows.q.dtype, torch.float32), device=k.device)
    for block in _blocks(rows, k):
        scores = _scores(rows, k, block)
        weight = weights[:, :, block].to(scores.dtype)
        if rows.lse is None:
            # a row that sees no key attends to nothing, rather than to all alike
            weight = weight if rows.sees_all else weight.masked_fill(scores.amax(-1) <= HIDDEN, 0)
            probabilities = scores.softmax(-1)
        else:
            lse = rows.lse[:, :, block, None].to(scores.dtype)
            probabilities = (scores - lse).exp_().masked_fill_(scores <= HIDDEN, 0)
        received = received + (weight[:, :, None] @ probabilities)[:, :, 0]
    return received


def _blocks(rows: Rows, k: torch.Tensor) -> list[slice]:
    step = max(1, MAX_SCORES // max(1, rows.q.shape[0] * rows.q.shape[1] * k.shape[2]))
    return [slice(first, first + step) for first in range(0, rows.q.shape[2], step)]


def _scores(rows: Rows, k: torch.Tensor, block: slice) -> torch.Tensor:
    """Scaled scores [B, H, rows, N] of a block of rows in at least float32, HIDDEN where a row may not look."""
    dtype = torch.promote_types(rows.q.dtype, torch.float32)
    q, heads = rows.q[:, :, block].to(dtype), k.shape[1]
    grouped = q.unflatten(1, (heads, q.shape[1] // heads))
    scores = (grouped * q.shape[-1] ** -0.5) @ k.to(dtype)[:, :, None].mT
    scores = scores.flatten(1, 2)
    if rows.sees_all:
        return scores
    keys = torch.arange(k.shape[2], device=k.device)
    seen = rows.numbers[:, block, None] == rows.key_numbers[:, None]
    seen &= (rows.numbers[:, block, None] != 0) & (keys <= rows.positions[:, block, None])
    return scores.masked_fill(~seen[:, None], HIDDEN)


def _check(
    q: torch.Tensor,
    k: torch.Tensor,
    lse: torch.Tensor | None,
    causal: bool,
    query_rows: torch.Tensor | None,
    mask: torch.Tensor | None,
) -> None:
    if q.ndim != 4 or k.ndim != 4 or (len(q), q.shape[-1]) != (len(k), k.shape[-1]):
        raise ValueError(f"want q [B, H, M, D] and k [B, G, N, D], got {[*q.shape]} and {[*k.shape]}")
    if q.shape[1] % max(k.shape[1], 1):
        raise ValueError(f"want a multiple of the {k.shape[1]} key heads, got {q.shape[1]} query heads")
    if causal and q.shape[2] > k.shape[2]:
        raise ValueError(f"causal queries stand among the keys: want at most {k.shape[2]}, got {q.shape[2]}")
    if lse is not None and lse.shape != q.shape[:3]:
        raise ValueError(f"want lse {[*q.shape[:3]]}, got {[*lse.shape]}")
    if mask is not None and (mask.shape != (len(k), k.shape[2]) or mask.dtype not in (torch.bool, torch.int64)):
        raise ValueError(f"want mask [{len(k)}, {k.shape[2]}], bool or int64, got {[*mask.shape]} {mask.dtype}")
    if query_rows is None:
        return
    fits = query_rows.ndim == 1 or (query_rows.ndim == 2 and len(query_rows) == len(q))
    if query_rows.dtype != torch.int64 or not fits:
        raise ValueError(f"want query_rows int64 [R] or [{len(q)}, R], got {[*query_rows.shape]} {query_rows.dtype}")
    if query_rows.numel() and (query_rows.min() < -1 or query_rows.max() >= q.shape[2]):
        low, high = int(query_rows.min()), int(query_rows.max())
        raise ValueError(f"want query_rows in [-1, {q.shape[2]}), got {low} to {high}")
