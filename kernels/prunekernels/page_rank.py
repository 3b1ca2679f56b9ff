"""Weighted PageRank over a row-stochastic graph: the vote of Zero-TPrune (CVPR 2024, arXiv:2305.17328).

    s^t = A^T s^{t-1},      A_ij >= 0, sum_j A_ij = 1

Each node hands its mass on along its row, so that mass is conserved; more is more important. A is given, or is
softmax(q k^T / sqrt(D)) of queries and keys. Unfused, every iteration reads A from memory again; the kernel gives
a graph to one program, which reads A once and then from its own cache. From q and k a CPU makes one graph at a time, of
up to 11,585 nodes: an iteration reads 4 bytes an edge where making the scores again is 4 D FLOP and an exponential.
Larger graphs, and on a GPU those of more than 512 nodes, are never made: an iteration is the weighted column sums of
`attention_received`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from prunekernels._attention_rows import plain_rows
from prunekernels._backend import Backend, jit, next_power_of_2, use_triton
from prunekernels._counts import whole
from prunekernels._finite import refuse_where
from prunekernels._ops import operator
from prunekernels._precision import full_precision
from prunekernels.attention_received import log_sum_exp, one_dtype, weighted_columns

if TYPE_CHECKING:
    import triton.language as tl

# a graph of this many nodes still lies in the level-1 cache of a processor that has 256 KB: 240 KB of float32 and
# the vectors; up to four times the edges it lies in the shared one
MAX_FUSED = 512

# the most edges of a graph that a CPU makes (512 MiB of float32)
MAX_MADE = 2**27

# edges that are read several times on a CPU before the next ones are: 1 MiB of float32, which a core's cache holds
MAX_EDGES = 256 * 1024

# iterations between looks whether those that are left would change anything
LOOK = 4

Matrix = npt.NDArray[np.float32] | npt.NDArray[np.float64]


@full_precision
def page_rank(
    weights: torch.Tensor | tuple[torch.Tensor, torch.Tensor],
    iterations: int,
    start: torch.Tensor | None = None,
    *,
    backend: Backend = "auto",
) -> torch.Tensor:
    """Mass after `iterations` over `weights` [..., N, N], or (q, k) of [B, H, N, D]; returns float32 [..., N].

    `start` [..., N] (default 1/N each) is any finite mass >= 0, which broadcasts over the leading dimensions. Raises
    ValueError for other shapes, and for a row that is not finite, negative, or does not sum to 1 within 1e-3 (on a
    GPU later: `_finite`).
    """
    iterations = whole("iterations", iterations)
    if iterations < 0:
        raise ValueError(f"want at least 0 iterations, got {iterations}")
    if isinstance(weights, tuple):
        q, k = weights
        _check_attention(q, k)
        _check_start(start, q.shape[:3])
        return _page_rank_of_attention(q, k, iterations, start, use_triton(q, backend))
    if weights.ndim < 2 or weights.shape[-1] != weights.shape[-2] or not weights.is_floating_point():
        raise ValueError(f"want floating-point weights [..., N, N], got {[*weights.shape]} {weights.dtype}")
    _check_start(start, weights.shape[:-1])
    return _page_rank(weights, iterations, start, use_triton(weights, backend))


def _empty(weights: torch.Tensor, iterations: int, start: torch.Tensor | None, triton: bool) -> torch.Tensor:
    return weights.new_empty(weights.shape[:-1], dtype=torch.float32)


@operator(_empty)
@full_precision
def _page_rank(weights: torch.Tensor, iterations: int, start: torch.Tensor | None, triton: bool) -> torch.Tensor:
    mass = _start(start, weights.shape[:-1], weights.device)
    if triton and 0 < weights.shape[-1] <= MAX_FUSED and mass.numel():
        _check_rows(weights)
        return page_rank_triton(weights, iterations, mass)
    graphs, masses = (weights[None], mass[None]) if weights.ndim == 2 else (weights.flatten(0, -3), mass.flatten(0, -2))
    voted = torch.empty(len(graphs), weights.shape[-1], dtype=torch.float32, device=weights.device)
    for some in _blocks(graphs):
        _check_rows(graphs[some], weights.shape[:-2], some.start)
        voted[some] = _votes(graphs[some], iterations, masses[some])
    return voted.reshape(weights.shape[:-1])


def _blocks(graphs: torch.Tensor) -> list[slice]:
    """Graphs that are read several times while they lie in a core's cache; on a GPU all of them."""
    n_edges = max(1, graphs.shape[-2] * graphs.shape[-1])
    at_once = max(1, MAX_EDGES // n_edges) if graphs.is_cpu else max(1, len(graphs))
    return [slice(first, first + at_once) for first in range(0, len(graphs), at_once)]


def _votes(graphs: torch.Tensor, iterations: int, mass: torch.Tensor) -> torch.Tensor:
    """`mass` [G, N] after `iterations` over `graphs` [G, N, N]."""
    if not graphs.is_cpu:
        return page_rank_torch(graphs, iterations, mass)
    wide = graphs.to(torch.promote_types(graphs.dtype, torch.float32)).contiguous()
    each = zip(wide.numpy(), mass.to(wide.dtype).numpy(), strict=True)
    # by itself each graph rounds as it does alone, and stops when it may
    found = [torch.from_numpy(_vote(graph, iterations, own)) for graph, own in each]
    return torch.stack(found) if found else mass.to(wide.dtype)


def _vote(graph: Matrix, iterations: int, mass: Matrix) -> Matrix:
    """One graph's mass, on numpy's views of torch's memory, whose calls take half of torch's time on so few numbers.

    Relative to the mass, what an iteration changes never grows in the next one. So it ends where all iterations that
    are left could not change a node by more than the rounding of one, N times half an epsilon.
    """
    rounding = len(mass) * np.finfo(mass.dtype).eps / 2
    before, after = mass.copy(), np.empty_like(mass)
    for step in range(1, iterations + 1):
        np.dot(before, graph, out=after)
        before, after = after, before
        # a look costs as much as two iterations
        if step % LOOK == 0 and np.all(np.abs(before - after) * (iterations - step) <= rounding * before):
            break
    return before


def page_rank_torch(weights: torch.Tensor, iterations: int, mass: torch.Tensor) -> torch.Tensor:
    """Reference: the formula as printed, in at least float32, `weights` [G, N, N] and `mass` [G, N]."""
    wide = weights.to(torch.promote_types(weights.dtype, torch.float32))
    mass = mass.to(wide.dtype)[:, None]
    for _ in range(iterations):
        mass = mass @ wide
    return mass[:, 0]


def _empty_of_attention(
    q: torch.Tensor, k: torch.Tensor, iterations: int, start: torch.Tensor | None, triton: bool
) -> torch.Tensor:
    return q.new_empty(q.shape[:3], dtype=torch.float32)


@operator(_empty_of_attention)
@full_precision
def _page_rank_of_attention(
    q: torch.Tensor, k: torch.Tensor, iterations: int, start: torch.Tensor | None, triton: bool
) -> torch.Tensor:
    mass = _start(start, q.shape[:3], q.device)
    if not mass.numel():
        return mass.clone()
    if q.shape[2] <= MAX_FUSED or (q.is_cpu and not triton and q.shape[2] ** 2 <= MAX_MADE):
        mass = _made(q, k, iterations, mass, triton)
    else:
        q, k = one_dtype(q, k, triton)
        rows = plain_rows(q, k, q.shape[3] ** -0.5)
        rows = rows._replace(lse=log_sum_exp(rows, k, triton))
        for _ in range(iterations):
            mass = weighted_columns(rows, k, mass, triton)
    refuse_where(
        ~mass.isfinite().all(-1), lambda place: f"head {place[1]} of sample {place[0]} has NaN or infinity in q or k"
    )
    return mass.float().clone()


def _made(q: torch.Tensor, k: torch.Tensor, iterations: int, mass: torch.Tensor, triton: bool) -> torch.Tensor:
    """Graphs that are made once, which is cheaper than their scores in every iteration."""
    group, scale = q.shape[1] // k.shape[1], q.shape[3] ** -0.5
    if triton:
        graphs = (q.float() * scale) @ k.float().repeat_interleave(group, 1).mT
        return page_rank_triton(graphs.softmax(-1), iterations, mass)
    queries, keys, start = q.flatten(0, 1), k.flatten(0, 1), mass.flatten(0, 1)
    voted = torch.empty_like(start)
    heads = torch.arange(len(queries), device=q.device)
    blocks = _blocks(q.new_empty(()).expand(len(queries), q.shape[2], q.shape[2]))
    # graphs one after the other in the same memory, which is cold only once
    memory = torch.empty(blocks[0].stop, *[q.shape[2]] * 2, dtype=torch.float32, device=q.device)
    for some in blocks:
        own, others = queries[some].float() * scale, keys[heads[some] // group].float().mT
        scores = torch.matmul(own, others, out=memory[: len(own)])
        voted[some] = _votes(torch.softmax(scores, -1, out=scores), iterations, start[some])
    return voted.unflatten(0, q.shape[:2])


def _check_attention(q: torch.Tensor, k: torch.Tensor) -> None:
    fits = q.ndim == k.ndim == 4 and (len(q), *q.shape[2:]) == (len(k), *k.shape[2:])
    if not fits or q.shape[1] % max(k.shape[1], 1) or not (q.is_floating_point() and k.is_floating_point()):
        raise ValueError(
            f"want q [B, H, N, D] and k [B, G, N, D], G dividing H, both of floating point, got {[*q.shape]} {q.dtype} "
            f"and {[*k.shape]} {k.dtype}"
        )


def _check_rows(weights: torch.Tensor, leading: torch.Size | None = None, first: int = 0) -> None:
    """Refuse rows that are no shares; `weights` are graphs from number `first` on of those of shape `leading`."""
    # a NaN or an infinity shows in its row's sum, a negative weight in its row's minimum
    sums = weights.sum(-1, dtype=torch.promote_types(weights.dtype, torch.float32))
    bad = ~((sums - 1).abs() <= 1e-3)
    if weights.numel():
        bad |= weights.amin(-1) < 0

    def message(place: tuple[int, ...]) -> str:
        row = place if leading is None else (*_unravel(place[0] + first, leading), place[1])
        return f"row {[*row]}: want weights >= 0 that sum to 1, got a sum of {float(sums[place])}"

    refuse_where(bad, message)


def _unravel(place: int, shape: torch.Size) -> tuple[int, ...]:
    return tuple(int(index) for index in torch.unravel_index(torch.tensor(place, device="cpu"), shape))


def _check_start(start: torch.Tensor | None, shape: torch.Size) -> None:
    if start is None:
        return
    if start.shape[-1:] != shape[-1:] or torch.broadcast_shapes(start.shape, shape) != shape:
        raise ValueError(f"want start that broadcasts to {[*shape]}, got {[*start.shape]}")


def _start(start: torch.Tensor | None, shape: torch.Size, device: torch.device) -> torch.Tensor:
    """The mass that the first iteration hands on, float32 `shape`."""
    if start is None:
        return torch.full(shape, 1 / max(shape[-1], 1), dtype=torch.float32, device=device)
    refuse_where(~(start.isfinite() & (start >= 0)), lambda place: "want a finite start of at least 0")
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
