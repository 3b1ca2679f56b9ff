"""How much attention each position receives: column sums of softmax attention, without the matrix.

    received_j = sum_i softmax_j(q_i . k_j / sqrt(D))      over the query rows i that count

The score behind FastV, VisionZip, ATP-LLaVA, H2O and Zero-TPrune; higher means that more is read from j. A head's
sums add up to the number of its query rows. Floor: one QK^T, 2 M N D FLOP a head, where the rows' log-sum-exp is
at hand (flash attention returns it), and two where it is not. The kernel gives each program a tile of keys and
walks over the queries, so that nothing is added atomically and two runs give the same bits.
"""

from __future__ import annotations

import torch

from prunekernels._attention import columns_triton, lse_triton
from prunekernels._attention_rows import Rows, columns_torch, log_sum_exp_torch, plain_rows
from prunekernels._backend import Backend, use_triton
from prunekernels._finite import refuse_where
from prunekernels._ops import operator
from prunekernels._precision import full_precision


@full_precision
def attention_received(
    q: torch.Tensor,
    k: torch.Tensor,
    lse: torch.Tensor | None = None,
    causal: bool = False,
    query_rows: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    *,
    scale: float | None = None,
    backend: Backend = "auto",
) -> torch.Tensor:
    """Column sums for queries `q` [B, H, M, D] and keys `k` [B, G, N, D], G dividing H; returns float32 [B, H, N].

    `lse` [B, H, M] is the rows' natural log-sum-exp of the scaled scores, computed where it is not given. With
    `causal` the queries stand at the last M of the N positions. `query_rows`, int64 [R] or [B, R], names the rows
    that count (-1 names none). `mask` [B, N] is bool, False for padding, or int64 sequence numbers of packed
    sequences, 0 for padding: attention stays inside a sequence. Queries at padding do not count where M = N or
    `causal`. Scores are scaled by `scale`, by default 1 / sqrt(D); q and k may differ in dtype. Raises ValueError
    for other shapes, and for NaN or infinity with the place named (on a GPU later: `_finite`).
    """
    _check(q, k, lse, causal, query_rows, mask)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return _attention_received(q, k, lse, causal, query_rows, mask, scale, use_triton(q, backend))


def _empty(
    q: torch.Tensor,
    k: torch.Tensor,
    lse: torch.Tensor | None,
    causal: bool,
    query_rows: torch.Tensor | None,
    mask: torch.Tensor | None,
    scale: float,
    triton: bool,
) -> torch.Tensor:
    return q.new_empty(*q.shape[:2], k.shape[2], dtype=torch.float32)


@operator(_empty)
@full_precision
def _attention_received(
    q: torch.Tensor,
    k: torch.Tensor,
    lse: torch.Tensor | None,
    causal: bool,
    query_rows: torch.Tensor | None,
    mask: torch.Tensor | None,
    scale: float,
    triton: bool,
) -> torch.Tensor:
    if query_rows is not None:
        refuse_where(
            (query_rows < -1) | (query_rows >= q.shape[2]),
            lambda place: f"want query_rows in [-1, {q.shape[2]}), got {int(query_rows[place])}",
        )
    q, k = one_dtype(q, k, triton)
    rows = plain_rows(q, k, scale, lse, causal, query_rows, mask)
    weights = (rows.numbers != 0).float()[:, None].expand(rows.q.shape[:3])
    received = weighted_columns(rows, k, weights, triton).float()
    refuse_where(
        ~received.isfinite().all(-1),
        lambda place: f"head {place[1]} of sample {place[0]} has NaN or infinity in q, k or lse",
    )
    return received


def one_dtype(q: torch.Tensor, k: torch.Tensor, triton: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys in the dtype that holds both; a kernel multiplies in float32 at most."""
    dtype = torch.promote_types(q.dtype, k.dtype)
    dtype = torch.float32 if triton and dtype == torch.float64 else dtype
    return q.to(dtype), k.to(dtype)


def weighted_columns(rows: Rows, k: torch.Tensor, weights: torch.Tensor, triton: bool) -> torch.Tensor:
    """sum_i weights_i softmax_j(scale q_i . k_j) for `weights` [B, H, R]; returns [B, H, N]."""
    if not weights.numel() or not k.shape[2]:
        return torch.zeros(*weights.shape[:2], k.shape[2], dtype=torch.float32, device=k.device)
    return (columns_triton if triton else columns_torch)(rows, k, weights)


def log_sum_exp(rows: Rows, k: torch.Tensor, triton: bool) -> torch.Tensor:
    """The rows' log-sum-exp of the scaled scores, [B, H, R]; HIDDEN or less where a row sees no key."""
    return (lse_triton if triton else log_sum_exp_torch)(rows, k)


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
    if not q.is_floating_point() or not k.is_floating_point() or not q.shape[-1]:
        raise ValueError(f"want floating-point q and k of at least 1 dimension, got {q.dtype} and {k.dtype}")
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
