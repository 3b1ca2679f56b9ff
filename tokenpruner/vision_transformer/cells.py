"""Pictures as grids of cells, in the two forms in which towers take them, and pictures scaled down.

packed    patches below each other, all pictures in one: [S, C T P P], the m x m patches of a cell in a row, cells
          line after line, frames one after the other (Qwen2-VL and its kin)
whole     [B, C, H, W], from which the tower cuts the patches itself (ViT, CLIP, SigLIP)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate

from tokenpruner.models.image_layouts import Grid


@dataclass(frozen=True)
class PatchShape:
    """A packed patch: `channels` x `depth` frames x `side` x `side` pixels; `merge` x `merge` of them are a cell."""

    channels: int
    depth: int
    side: int
    merge: int


def packed_cells(patches: torch.Tensor, frames: int, grid: Grid, merge: int) -> torch.Tensor:
    """The cells [F, h, w, V] of one packed picture or video, whose `grid` is of cells."""
    return patches.reshape(frames, *grid, merge * merge * patches.shape[1])


def whole_cells(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """The patches [B, h, w, V] of pictures [B, C, H, W]; a margin that is no patch is left out."""
    rows, columns = pixels.shape[2] // side, pixels.shape[3] // side
    cut = pixels[:, :, : rows * side, : columns * side].unflatten(2, (rows, side)).unflatten(4, (columns, side))
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3)


def scaled(patches: torch.Tensor, frames: int, grid: Grid, smaller: Grid, shape: PatchShape) -> torch.Tensor:
    """One packed picture or video of `grid` cells, each frame scaled to `smaller`; packed patches.

    No pixel of a channel leaves the range that it had.
    """
    merge, side = shape.merge, shape.side
    wide = patches.reshape(frames, *grid, merge, merge, shape.channels, shape.depth, side, side).float()
    # [frames, depth, channels] pictures of [row of cells, row in the cell, line of the patch] x the same of columns
    flat = wide.permute(0, 6, 5, 1, 3, 7, 2, 4, 8).flatten(0, 1).flatten(5, 7).flatten(2, 4)
    low, high = flat.amin((2, 3), keepdim=True), flat.amax((2, 3), keepdim=True)
    size = (smaller[0] * merge * side, smaller[1] * merge * side)
    made = interpolate(flat, size, mode="bicubic", antialias=True).clamp(low, high)
    cells = made.unflatten(0, (frames, shape.depth)).unflatten(4, (smaller[1], merge, side))
    cells = cells.unflatten(3, (smaller[0], merge, side)).permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return cells.reshape(-1, patches.shape[1]).to(patches.dtype)


def spread_places(grid: Grid, smaller: Grid) -> torch.Tensor:
    """For the cells of a smaller picture those of `grid` in whose middle they lie; int64 [h w], ascending."""
    rows, columns = ((2 * torch.arange(few) + 1) * many // (2 * few) for many, few in zip(grid, smaller, strict=True))
    return (rows[:, None] * grid[1] + columns).flatten()
