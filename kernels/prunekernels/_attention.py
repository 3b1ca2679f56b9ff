"""The kernels of attention_received: log-sum-exps of rows, and column sums given them, in one launch each.

A program keeps its tile of rows (or keys) and walks over the keys (or rows), so that nothing is added atomically.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prunekernels._attention_rows import HIDDEN, Rows
from prunekernels._backend import is_interpreting, jit, limits, next_power_of_2

if TYPE_CHECKING:
    import triton.language as tl

# positions that a program looks through at a time for the first and last it needs
SCAN = 1024


def _launch(k: torch.Tensor) -> tuple[int, int, dict[str, int | bool]]:
    """Positions that stay with a program, those that walk by at a time, and the kernel's options."""
    wide = max(16, next_power_of_2(k.shape[3]))
    capability = limits(k).capability
    # before 8.0 halves are multiplied like float32, and registers are filled sooner
    halves = k.dtype.itemsize == 2 and capability >= (8, 0)
    stays, walks = (128 if wide <= 128 else 64, 64) if halves else (32, 32)
    if capability < (8, 0):
        stays, walks = 16, 32
    # the interpreter's dot multiplies the bits of a bfloat16 as if they were a whole number
    return stays, walks, {"TILE_D": wide, "WIDEN": is_interpreting(), "num_warps": 8 if halves or wide > 64 else 4}


def lse_triton(rows: Rows, k: torch.Tensor) -> torch.Tensor:
    stays, walks, options = _launch(k)
    n_samples, n_heads, n_rows, n_dims = rows.q.shape
    lse = torch.empty(n_samples, n_heads, n_rows, dtype=torch.float32, device=k.device)
    _lse_kernel[(-(-n_rows // stays) * n_samples * n_heads,)](
        rows.q, k, lse, rows.positions, rows.numbers, rows.key_numbers, n_rows, k.shape[2], n_dims, n_heads,
        n_heads // k.shape[1], rows.scale, *rows.q.stride(), *k.stride(),
        HIDDEN=HIDDEN, SCAN=SCAN, TILE_Q=stays, TILE_K=walks, **options,
    )  # fmt: skip
    return lse


def columns_triton(rows: Rows, k: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    lse = lse_triton(rows, k) if rows.lse is None else rows.lse.float().contiguous()
    stays, walks, options = _launch(k)
    n_samples, n_heads, n_rows, n_dims = rows.q.shape
    received = torch.empty(n_samples, n_heads, k.shape[2], dtype=torch.float32, device=k.device)
    _columns_kernel[(-(-k.shape[2] // stays) * n_samples * n_heads,)](
        rows.q, k, lse, weights.float().contiguous(), received, rows.positions, rows.numbers, rows.key_numbers,
        n_rows, k.shape[2], n_dims, n_heads, n_heads // k.shape[1], rows.scale, *rows.q.stride(), *k.stride(),
        HIDDEN=HIDDEN, SCAN=SCAN, TILE_Q=walks, TILE_K=stays, **options,
    )  # fmt: skip
    return received


@jit
def _lse_kernel(  # type: ignore[no-untyped-def]
    q, k, lse, positions, numbers, key_numbers, n_rows, n_keys, n_dims, n_heads, group, scale,
    stride_qb, stride_qh, stride_qr, stride_qd, stride_kb, stride_kh, stride_kn, stride_kd,
    HIDDEN: tl.constexpr, SCAN: tl.constexpr, TILE_Q: tl.constexpr, TILE_K: tl.constexpr, TILE_D: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """A tile of query rows walks over the keys."""
    # tiles, heads and samples share the first axis: the others end at 65,535
    tiles = tl.cdiv(n_rows, TILE_Q)
    place = tl.program_id(0).to(tl.int64) // tiles
    sample, head = place // n_heads, place % n_heads
    row = tl.program_id(0).to(tl.int64) % tiles * TILE_Q + tl.arange(0, TILE_Q)
    is_row = row < n_rows
    dims = tl.arange(0, TILE_D)
    is_dim = dims < n_dims
    q_tile = tl.load(
        q + sample * stride_qb + head * stride_qh + row[:, None] * stride_qr + dims[None, :] * stride_qd,
        mask=is_row[:, None] & is_dim[None, :], other=0.0,
    )  # fmt: skip
    if WIDEN:
        q_tile = q_tile.to(tl.float32)
    position = tl.load(positions + sample * n_rows + row, mask=is_row, other=-1)
    number = tl.load(numbers + sample * n_rows + row, mask=is_row, other=0)
    # the keys that any of the rows sees; a loop without branches is one whose loads run ahead
    low, high = n_keys, 0
    for first in range(0, n_keys, SCAN):
        key = first + tl.arange(0, SCAN)
        key_number = tl.load(key_numbers + sample * n_keys + key, mask=key < n_keys, other=0)
        wanted = (key_number != 0) & (key_number >= tl.min(number)) & (key_number <= tl.max(number))
        wanted &= key <= tl.max(position)
        low = tl.minimum(low, tl.min(tl.where(wanted, key, n_keys)))
        high = tl.maximum(high, tl.max(tl.where(wanted, key + 1, 0)))
    peak = tl.full([TILE_Q], HIDDEN, tl.float32)
    total = tl.zeros([TILE_Q], tl.float32)
    for first in range(low // TILE_K * TILE_K, high, TILE_K):
        key = first + tl.arange(0, TILE_K)
        key_number = tl.load(key_numbers + sample * n_keys + key, mask=key < n_keys, other=0)
        k_tile = tl.load(
            k + sample * stride_kb + (head // group) * stride_kh
            + key[None, :].to(tl.int64) * stride_kn + dims[:, None] * stride_kd,
            mask=(key < n_keys)[None, :] & is_dim[:, None], other=0.0,
        )  # fmt: skip
        if WIDEN:
            k_tile = k_tile.to(tl.float32)
        scores = tl.dot(q_tile, k_tile, input_precision="ieee") * scale
        seen = (number[:, None] == key_number[None, :]) & (number[:, None] != 0)
        scores = tl.where(seen & (key[None, :] <= position[:, None]), scores, HIDDEN)
        new_peak = tl.maximum(peak, tl.max(scores, 1))
        total = total * tl.exp(peak - new_peak) + tl.sum(tl.exp(scores - new_peak[:, None]), 1)
        peak = new_peak
    tl.store(lse + place * n_rows + row, peak + tl.log(total), mask=is_row)


@jit
def _columns_kernel(  # type: ignore[no-untyped-def]
    q, k, lse, weights, received, positions, numbers, key_numbers, n_rows, n_keys, n_dims, n_heads, group, scale,
    stride_qb, stride_qh, stride_qr, stride_qd, stride_kb, stride_kh, stride_kn, stride_kd,
    HIDDEN: tl.constexpr, SCAN: tl.constexpr, TILE_Q: tl.constexpr, TILE_K: tl.constexpr, TILE_D: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """A tile of keys walks over the query rows."""
    tiles = tl.cdiv(n_keys, TILE_K)
    place = tl.program_id(0).to(tl.int64) // tiles
    sample, head = place // n_heads, place % n_heads
    key = tl.program_id(0).to(tl.int64) % tiles * TILE_K + tl.arange(0, TILE_K)
    is_key = key < n_keys
    dims = tl.arange(0, TILE_D)
    is_dim = dims < n_dims
    k_tile = tl.load(
        k + sample * stride_kb + (head // group) * stride_kh
        + key[:, None] * stride_kn + dims[None, :] * stride_kd,
        mask=is_key[:, None] & is_dim[None, :], other=0.0,
    )  # fmt: skip
    if WIDEN:
        k_tile = k_tile.to(tl.float32)
    key_number = tl.load(key_numbers + sample * n_keys + key, mask=is_key, other=0)
    # the rows that see any of the keys; a loop without branches is one whose loads run ahead
    low, high = n_rows, 0
    for first in range(0, n_rows, SCAN):
        row = first + tl.arange(0, SCAN)
        position = tl.load(positions + sample * n_rows + row, mask=row < n_rows, other=-1)
        number = tl.load(numbers + sample * n_rows + row, mask=row < n_rows, other=0)
        wanted = (number != 0) & (number >= tl.min(key_number)) & (number <= tl.max(key_number))
        wanted &= position >= tl.min(key)
        low = tl.minimum(low, tl.min(tl.where(wanted, row, n_rows)))
        high = tl.maximum(high, tl.max(tl.where(wanted, row + 1, 0)))
    sums = tl.zeros([TILE_K], tl.float32)
    for first in range(low // TILE_Q * TILE_Q, high, TILE_Q):
        row = first + tl.arange(0, TILE_Q)
        is_row = row < n_rows
        position = tl.load(positions + sample * n_rows + row, mask=is_row, other=-1)
        number = tl.load(numbers + sample * n_rows + row, mask=is_row, other=0)
        q_tile = tl.load(
            q + sample * stride_qb + head * stride_qh
            + row[None, :].to(tl.int64) * stride_qr + dims[:, None] * stride_qd,
            mask=is_row[None, :] & is_dim[:, None], other=0.0,
        )  # fmt: skip
        row_lse = tl.load(lse + place * n_rows + row, mask=is_row, other=0.0)
        weight = tl.load(weights + place * n_rows + row, mask=is_row, other=0.0)
        if WIDEN:
            q_tile = q_tile.to(tl.float32)
        scores = tl.dot(k_tile, q_tile, input_precision="ieee") * scale - row_lse[None, :]
        seen = (key_number[:, None] == number[None, :]) & (number[None, :] != 0)
        scores = tl.where(seen & (key[:, None] <= position[None, :]), scores, HIDDEN)
        sums += tl.sum(tl.exp(scores) * weight[None, :], 1)
    tl.store(received + place * n_keys + key, sums, mask=is_key)
