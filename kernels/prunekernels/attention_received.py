"""How much attention each position receives: column sums of softmax attention, without the matrix.

    received_j = sum_i softmax_j(q_i . k_j / sqrt(D))      over the query rows i that count

The score behind FastV, VisionZip, ATP-LLaVA, H2O and Zero-TPrune; higher means that more is read from j. A head's
sums add up to the number of its query rows. Floor: one QK^T, 2 M N D FLOP a head, where the rows' log-sum-exp is
at hand (flash attention returns it), and two where it is not. The kernel gives each program a tile of keys and
walks over the queries, so that nothing is added atomically and two runs give the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from prunekernels._backend import Backend, is_interpreting, jit, next_power_of_2, use_triton

if TYPE_CHECKING:
    import triton.language as tl

# the reference holds this many probabilities at a time: 4 MiB of float32, which a CPU's cache holds
MAX_SCORES = 2**20

# a score that softmax cannot see, finite so that a row without keys has no inf - inf
HIDDEN = -1e30


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


class Rows(NamedTuple):
    """The query rows that count, ready for either backend."""

    q: torch.Tensor  # [B, H, R, D]
    lse: torch.Tensor | None  # [B, H, R]
    positions: torch.Tensor  # int64 [B, R]: the last key that a row sees
    numbers: torch.Tensor  # int64 [B, R]: the sequence of a row, 0 where it does not count
    key_numbers: torch.Tensor  # int64 [B, N]


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
    return Rows(q, lse, positions.contiguous(), numbers.contiguous(), key_numbers.contiguous())


def weighted_columns(rows: Rows, k: torch.Tensor, weights: torch.Tensor, triton: bool) -> torch.Tensor:
    """sum_i weights_i softmax_j(q_i . k_j / sqrt(D)) for `weights` [B, H, R]; returns [B, H, N]."""
    if not weights.numel() or not k.shape[2]:
        return torch.zeros(*weights.shape[:2], k.shape[2], dtype=weights.dtype, device=k.device)
    return (_columns_triton if triton else _columns_torch)(rows, k, weights)


def log_sum_exp(rows: Rows, k: torch.Tensor, triton: bool) -> torch.Tensor:
    """The rows' log-sum-exp of the scaled scores, [B, H, R]; HIDDEN or less where a row sees no key."""
    if triton:
        return _lse_triton(rows, k)
    return torch.cat([_scores(rows, k, block).logsumexp(-1) for block in _blocks(rows, k)], 2)


def _columns_torch(rows: Rows, k: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Reference: softmax of a block of rows, weighted and summed over them."""
    received = torch.zeros(1, dtype=torch.promote_types(rows.q.dtype, torch.float32), device=k.device)
    for block in _blocks(rows, k):
        scores = _scores(rows, k, block)
        weight = weights[:, :, block].to(scores.dtype)
        if rows.lse is None:
            # a row that sees no key attends to nothing, rather than to all alike
            weight = weight.masked_fill(scores.amax(-1) <= HIDDEN, 0)
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
        raise ValueError(
            f"want query_rows in [-1, {q.shape[2]}), got {int(query_rows.min())} to {int(query_rows.max())}"
        )


def _launch(rows: Rows, k: torch.Tensor) -> tuple[Rows, torch.Tensor, dict[str, int]]:
    """The inputs as the interpreter wants them, and the tile sizes."""
    if is_interpreting():
        # the interpreter's dot multiplies the bits of a bfloat16 as if they were a whole number
        rows, k = rows._replace(q=rows.q.float()), k.float()
    wide = max(16, next_power_of_2(k.shape[3]))
    halves = k.dtype.itemsize == 2
    tile = (128 if wide <= 64 else 64) if halves else 32
    return rows, k, {"TILE_Q": tile, "TILE_K": tile, "TILE_D": wide, "num_warps": 4 if wide <= 128 else 8}


def _lse_triton(rows: Rows, k: torch.Tensor) -> torch.Tensor:
    rows, k, tiles = _launch(rows, k)
    n_samples, n_heads, n_rows, n_dims = rows.q.shape
    lse = torch.empty(n_samples, n_heads, n_rows, dtype=torch.float32, device=k.device)
    _lse_kernel[(-(-n_rows // tiles["TILE_Q"]), n_samples * n_heads)](
        rows.q, k, lse, rows.positions, rows.numbers, rows.key_numbers, n_rows, k.shape[2], n_dims, n_heads,
        n_heads // k.shape[1], n_dims**-0.5, *rows.q.stride(), *k.stride(), HIDDEN=HIDDEN, **tiles,
    )  # fmt: skip
    return lse


def _columns_triton(rows: Rows, k: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    lse = _lse_triton(rows, k) if rows.lse is None else rows.lse.float().contiguous()
    rows, k, tiles = _launch(rows, k)
    n_samples, n_heads, n_rows, n_dims = rows.q.shape
    received = torch.empty(n_samples, n_heads, k.shape[2], dtype=torch.float32, device=k.device)
    _columns_kernel[(-(-k.shape[2] // tiles["TILE_K"]), n_samples * n_heads)](
        rows.q, k, lse, weights.float().contiguous(), received, rows.positions, rows.numbers, rows.key_numbers,
        n_rows, k.shape[2], n_dims, n_heads, n_heads // k.shape[1], n_dims**-0.5, *rows.q.stride(), *k.stride(),
        HIDDEN=HIDDEN, **tiles,
    )  # fmt: skip
    return received


@jit
def _lse_kernel(  # type: ignore[no-untyped-def]
    q, k, lse, positions, numbers, key_numbers, n_rows, n_keys, n_dims, n_heads, group, scale,
    stride_qb, stride_qh, stride_qr, stride_qd, stride_kb, stride_kh, stride_kn, stride_kd,
    HIDDEN: tl.constexpr, TILE_Q: tl.constexpr, TILE_K: tl.constexpr, TILE_D: tl.constexpr,
):  # fmt: skip
    """A tile of query rows walks over the keys."""
    sample = tl.program_id(1).to(tl.int64) // n_heads
    head = tl.program_id(1).to(tl.int64) % n_heads
    row = tl.program_id(0).to(tl.int64) * TILE_Q + tl.arange(0, TILE_Q)
    is_row = row < n_rows
    dims = tl.arange(0, TILE_D)
    is_dim = dims < n_dims
    q_tile = tl.load(
        q + sample * stride_qb + head * stride_qh + row[:, None] * stride_qr + dims[None, :] * stride_qd,
        mask=is_row[:, None] & is_dim[None, :], other=0.0,
    )  # fmt: skip
    position = tl.load(positions + sample * n_rows + row, mask=is_row, other=-1)
    number = tl.load(numbers + sample * n_rows + row, mask=is_row, other=0)
    last = tl.max(position)
    peak = tl.full([TILE_Q], HIDDEN, tl.float32)
    total = tl.zeros([TILE_Q], tl.float32)
    for first in range(0, n_keys, TILE_K):
        key = first + tl.arange(0, TILE_K)
        key_number = tl.load(key_numbers + sample * n_keys + key, mask=key < n_keys, other=0)
        if (first <= last) & (tl.max(key_number) >= tl.min(number)) & (tl.min(key_number) <= tl.max(number)):
            k_tile = tl.load(
                k + sample * stride_kb + (head // group) * stride_kh
                + key[None, :].to(tl.int64) * stride_kn + dims[:, None] * stride_kd,
                mask=(key < n_keys)[None, :] & is_dim[:, None], other=0.0,
            )  # fmt: skip
            scores = tl.dot(q_tile, k_tile, input_precision="ieee") * scale
            seen = (number[:, None] == key_number[None, :]) & (number[:, None] != 0) & (key < n_keys)[None, :]
            scores = tl.where(seen & (key[None, :] <= position[:, None]), scores, HIDDEN)
            new_peak = tl.maximum(peak, tl.max(scores, 1))
            total = total * tl.exp(peak - new_peak) + tl.sum(tl.exp(scores - new_peak[:, None]), 1)
            peak = new_peak
    tl.store(lse + (sample * n_heads + head) * n_rows + row, peak + tl.log(total), mask=is_row)


@jit
def _columns_kernel(  # type: ignore[no-untyped-def]
    q, k, lse, weights, received, positions, numbers, key_numbers, n_rows, n_keys, n_dims, n_heads, group, scale,
    stride_qb, stride_qh, stride_qr, stride_qd, stride_kb, stride_kh, stride_kn, stride_kd,
    HIDDEN: tl.constexpr, TILE_Q: tl.constexpr, TILE_K: tl.constexpr, TILE_D: tl.constexpr,
):  # fmt: skip
    """A tile of keys walks over the query rows."""
    sample = tl.program_id(1).to(tl.int64) // n_heads
    head = tl.program_id(1).to(tl.int64) % n_heads
    key = tl.program_id(0).to(tl.int64) * TILE_K + tl.arange(0, TILE_K)
    is_key = key < n_keys
    dims = tl.arange(0, TILE_D)
    is_dim = dims < n_dims
    k_tile = tl.load(
        k + sample * stride_kb + (head // group) * stride_kh
        + key[:, None] * stride_kn + dims[None, :] * stride_kd,
        mask=is_key[:, None] & is_dim[None, :], other=0.0,
    )  # fmt: skip
    key_number = tl.load(key_numbers + sample * n_keys + key, mask=is_key, other=0)
    first_key = tl.min(key)
    sums = tl.zeros([TILE_K], tl.float32)
    for first in range(0, n_rows, TILE_Q):
        row = first + tl.arange(0, TILE_Q)
        is_row = row < n_rows
        position = tl.load(positions + sample * n_rows + row, mask=is_row, other=-1)
        number = tl.load(numbers + sample * n_rows + row, mask=is_row, other=0)
        overlap = (tl.max(key_number) >= tl.min(number)) & (tl.min(key_number) <= tl.max(number))
        if overlap & (tl.max(position) >= first_key):
            q_tile = tl.load(
                q + sample * stride_qb + head * stride_qh
                + row[None, :].to(tl.int64) * stride_qr + dims[:, None] * stride_qd,
                mask=is_row[None, :] & is_dim[:, None], other=0.0,
            )  # fmt: skip
            place = (sample * n_heads + head) * n_rows + row
            row_lse = tl.load(lse + place, mask=is_row, other=0.0)
            weight = tl.load(weights + place, mask=is_row, other=0.0)
            scores = tl.dot(k_tile, q_tile, input_precision="ieee") * scale - row_lse[None, :]
            seen = (key_number[:, None] == number[None, :]) & (number[None, :] != 0) & is_row[None, :]
            scores = tl.where(seen & (key[:, None] <= position[None, :]), scores, HIDDEN)
            sums += tl.sum(tl.exp(scores) * weight[None, :], 1)
    tl.store(received + (sample * n_heads + head) * n_keys + key, sums, mask=is_key)
