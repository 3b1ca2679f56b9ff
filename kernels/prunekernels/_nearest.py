"""The largest dot product of each row with a range of columns, in one launch, without the matrix of them.

Shared by max_cosine (the columns are the earlier rows of the group) and bipartite_merge (the other half of the
same image). Floor: 2 D FLOP a pair; of the pairs nothing is written but a maximum and its place for each row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prunekernels._backend import jit

if TYPE_CHECKING:
    import triton.language as tl

TILE_R, TILE_C, TILE_D = 64, 64, 32

# programs that fill a large GPU twice over; with few rows the columns are cut into slices to get there
PROGRAMS = 264


def nearest_triton(
    rows: torch.Tensor, columns: torch.Tensor, first: torch.Tensor, last: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per row the largest of `rows` [R, D] @ `columns` [M, D].T over columns first <= c < last, both int64 [R].

    Returns float32 [R] and the column, int64 [R], the lower one in a tie; -inf and -1 where the range is empty.
    Rows that stand side by side should have ranges that overlap: a tile of rows reads the columns of all of them.
    """
    rows, columns = rows.contiguous(), columns.contiguous()
    n_rows, n_columns = len(rows), len(columns)
    tiles = -(-n_rows // TILE_R)
    slices = max(1, min(PROGRAMS // max(tiles, 1), -(-n_columns // TILE_C)))
    best = torch.empty(slices, n_rows, dtype=torch.float32, device=rows.device)
    place = torch.empty(slices, n_rows, dtype=torch.int64, device=rows.device)
    if n_rows:
        _nearest_kernel[(tiles, slices)](
            rows, columns, first.contiguous(), last.contiguous(), best, place, n_rows, n_columns, rows.shape[1],
            TILE_R=TILE_R, TILE_C=TILE_C, TILE_D=TILE_D, num_warps=8,
        )  # fmt: skip
    # the first of equal maxima: slices stand in the order of the columns
    winner = best.argmax(0, keepdim=True)
    return best.gather(0, winner)[0], place.gather(0, winner)[0]


@jit
def _nearest_kernel(  # type: ignore[no-untyped-def]
    rows, columns, first, last, best, place, n_rows, n_columns, n_dims,
    TILE_R: tl.constexpr, TILE_C: tl.constexpr, TILE_D: tl.constexpr,
):  # fmt: skip
    # the last tiles of a group have the most columns: they start first
    tile = (tl.num_programs(0) - 1 - tl.program_id(0)).to(tl.int64)
    part = tl.program_id(1).to(tl.int64)
    row = tile * TILE_R + tl.arange(0, TILE_R)
    is_row = row < n_rows
    low = tl.load(first + row, mask=is_row, other=n_columns)
    high = tl.load(last + row, mask=is_row, other=0)
    begin, end = tl.min(low, 0), tl.max(high, 0)
    length = tl.cdiv(tl.cdiv(tl.maximum(end - begin, 0), tl.num_programs(1)), TILE_C) * TILE_C
    begin += part * length
    end = tl.minimum(end, begin + length)
    top = tl.full([TILE_R], float("-inf"), tl.float32)
    where = tl.full([TILE_R], -1, tl.int64)
    for start in range(begin, end, TILE_C):
        column = start + tl.arange(0, TILE_C).to(tl.int64)
        is_column = column < end
        dots = tl.zeros([TILE_R, TILE_C], tl.float32)
        for depth in range(0, n_dims, TILE_D):
            dim = depth + tl.arange(0, TILE_D)
            is_dim = dim < n_dims
            left = tl.load(
                rows + row[:, None] * n_dims + dim[None, :], mask=is_row[:, None] & is_dim[None, :], other=0.0
            )
            right = tl.load(
                columns + column[None, :] * n_dims + dim[:, None], mask=is_column[None, :] & is_dim[:, None], other=0.0
            )
            dots = tl.dot(left, right, dots, input_precision="ieee")
        # slices are whole tiles, so that columns past a slice are past every row's range as well
        in_range = (column[None, :] >= low[:, None]) & (column[None, :] < high[:, None])
        dots = tl.where(in_range, dots, float("-inf"))
        peak = tl.max(dots, 1)
        at = start + tl.argmax(dots, 1).to(tl.int64)
        where = tl.where(peak > top, at, where)
        top = tl.maximum(top, peak)
    tl.store(best + part * n_rows + row, top, mask=is_row)
    tl.store(place + part * n_rows + row, where, mask=is_row)
