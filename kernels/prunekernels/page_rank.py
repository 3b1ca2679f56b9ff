"""Weighted PageRank over a row-stochastic graph: the vote of Zero-TPrune (CVPR 2024, arXiv:2305.17328).

    s^t = A^T s^{t-1},      A_ij >= 0, sum_j A_ij = 1

Each node hands its mass on along its row, so that mass is conserved; more is more important. A is given, or is
softmax(q k^T / sqrt(D)) of queries and keys. Unfused, every iteration reads A from memory again; the kernel gives
a graph to one program, which reads A once and then from its own cache. Graphs of more than 512 nodes from q and k
are never made: an iteration is the weighted column sums of `attention_received`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prunekernels._backend import Backend, jit, next_power_of_2, use_triton
from prunekernels._attention_rows import plain_rows
from prunekernels.attention_received import log_sum_exp, weighted_columns

if TYPE_CHECKING:
    import triton.language as tl

# a graph of this many nodes still lies in the level-1 cache of a processor that has 256 KB: 240 KB of float32 and
# the vectors; up to four times the edges it lies in the shared one
MAX_FUSED = 512


def page_rank(
    weights: torch.Tensor | tuple[torch.Tensor, torch.Tensor],
    iterations: int,
    start: torch.Tensor | None = None,
    *,
    backend: Backend = "auto",
) -> torch.Tensor:
    """Mass after `iterations` over `weights` [..., N, N], or (q, k) of [B, H, N, D]; returns float32 [..., N].

    `start` [..., N] (default 1/N each) is any finite mass >= 0, which broadcasts over the leading dimensions. Raises
    ValueError for other shapes, and for a row that is not finite, negative, or does not sum to 1 within 1e-3.
    """
    if iterations < 0:
        raise ValueError(f"want at least 0 iterations, got {iterations}")
    if isinstance(weights, tuple):
        return _from_attention(*weights, iterations, start, backend)
    if weights.ndim < 2 or weights.shape[-1] != weights.shape[-2] or not weights.is_floating_point():
        raise ValueError(f"want floating-point weights [..., N, N], got {[*weights.shape]} {weights.dtype}")
    _check_rows(weights)
    mass = _start(start, weights.shape[:-1], weights.device)
    fused = use_triton(weights, backend) and 0 < weights.shape[-1] <= MAX_FUSED and mass.numel()
    return (page_rank_triton if fused else page_rank_torch)(weights, iterations, mass).float()


def page_rank_torch(weights: torch.Tensor, iterations: int, mass: torch.Tensor) -> torch.Tensor:
    """Reference: the formula as printed, in at least float32."""
    wide = weights.to(torch.promote_types(weights.dtype, torch.float32))
    mass = mass.to(wide.dtype)
    for _ in range(iterations):
        mass = (mass[..., None, :] @ wide)[..., 0, :]
    return mass


def _from_attention(
    q: torch.Tensor, k: torch.Tensor, iterations: int, start: torch.Tensor | None, backend: Backend
) -> torch.Tensor:
    if q.ndim != 4 or k.ndim != 4 or q.shape[2] != k.shape[2] or q.shape[1] % max(k.shape[1], 1):
        raise ValueError(f"want q [B, H, N, D] and k [B, G, N, D], G dividing H, got {[*q.shape]} and {[*k.shape]}")
    triton = use_triton(q, backend)
    mass = _start(start, q.shape[:-1], q.device)
    if q.shape[2] <= MAX_FUSED:
        # small enough to be made once, which is cheaper than its scores in every iteration
        keys = k.float().repeat_interleave(q.shape[1] // max(k.shape[1], 1), 1)
        graph = ((q.float() * q.shape[-1] ** -0.5) @ keys.mT).softmax(-1)
        return page_rank(graph, iterations, start, backend=backend)
    rows = plain_rows(q, k, q.shape[-1] ** -0.5)
    rows = rows._replace(lse=log_sum_exp(rows, k, triton))
    for _ in range(iterations):
        mass = weighted_columns(rows, k, mass, triton)
    if not mass.isfinite().all():
        where = [int(index) for index in (~mass.isfinite()).nonzero()[0]]
        raise ValueError(f"head {where[1]} of sample {where[0]} has NaN or infinity in q or k")
    return mass.float()


def _check_rows(weights: torch.Tensor) -> None:
    # a NaN or an infinity shows in its row's sum, a negative weight in its row's minimum
    sums = weights.sum(-1, dtype=torch.promote_types(weights.dtype, torch.float32))
    bad = ~((sums - 1).abs() <= 1e-3)
    if weights.numel():
        bad |= weights.amin(-1) < 0
    if bad.any():
        where = tuple(int(index) for index in bad.nonzero()[0])
        raise ValueError(f"row {list(where)}: want weights >= 0 that sum to 1, got a sum of {float(sums[where])}")


def _start(start: torch.Tensor | None, shape: torch.Size, device: torch.device) -> torch.Tensor:
    if start is None:
        return torch.full(shape, 1 / max(shape[-1], 1), device=device)
    if start.shape[-1:] != shape[-1:] or torch.broadcast_shapes(start.shape, shape) != shape:
        raise ValueError(f"want start that broadcasts to {[*shape]}, got {[*start.shape]}")
    if not (start.isfinite() & (start >= 0)).all():
        raise ValueError("want a finite start of at least 0")
    return start.to(device).float().expand(shape)


def page_rank_triton(weights: torch.Tensor, iterations: int, mass: torch.Tensor) -> torch.Tensor:
    """One program a graph; the mass goes to and fro between two rows of memory."""
    n = weights.shape[-1]
    graphs = weights.reshape(-1, n, n)
    vectors = torch.empty(len(graphs), 2, n, dtype=torch.float32, device=weights.device)
    vectors[:, 0] = mass.reshape(-1, n)
    columns = next_power_of_2(n)
    _rank_kernel[(len(graphs),)](
        graphs, vectors, n, iterations, *graphs.stride(),
        ROWS=max(1, min(32, 8192 // columns)), COLUMNS=columns, num_warps=8,
    )  # fmt: skip
    return vectors[:, iterations % 2].reshape(mass.shape)


@jit
def _rank_kernel(  # type: ignore[no-untyped-def]
    graphs, vectors, n_nodes, iterations, stride_g, stride_r, stride_c, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    graph = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, COLUMNS)
    is_column = columns < n_nodes
    graphs += graph * stride_g
    vectors += graph * 2 * n_nodes
    for step in range(0, iterations):
        # the mass that other threads stored in the last step is read below
        tl.debug_barrier()
        mass = tl.zeros([COLUMNS], tl.float32)
        for first in range(0, n_nodes, ROWS):
            rows = first + tl.arange(0, ROWS)
            is_row = rows < n_nodes
            given = tl.load(vectors + (step % 2) * n_nodes + rows, mask=is_row, other=0.0)
            edges = tl.load(
                graphs + rows[:, None].to(tl.int64) * stride_r + columns[None, :].to(tl.int64) * stride_c,
                mask=is_row[:, None] & is_column[None, :], other=0.0,
            )  # fmt: skip
            mass += tl.sum(edges.to(tl.float32) * given[:, None], 0)
        tl.store(vectors + ((step + 1) % 2) * n_nodes + columns, mass, mask=is_column)
