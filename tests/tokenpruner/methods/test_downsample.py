"""Smaller pictures: their sides, their pixels, and where their tokens stand."""

from __future__ import annotations

import math

import pytest
import torch

from tokenpruner.methods.downsample import Downsample
from tokenpruner.vision_transformer.cells import PatchShape, scaled, spread_places


@pytest.mark.parametrize("grid", [(24, 24), (7, 9), (30, 11), (3, 3), (1, 9), (2, 60)])
@pytest.mark.parametrize("ratio", [0.04, 0.25, 1 / 3, 0.5, 0.99])
def test_sides_are_scaled_by_the_root(grid, ratio):
    rows, columns = Downsample(ratio).resized(grid)
    n = max(1, math.ceil(grid[0] * grid[1] * ratio - 1e-9))
    scale = math.sqrt(n / (grid[0] * grid[1]))
    assert rows * columns <= n
    if min(grid) * scale >= 1:
        assert (rows, columns) == (math.floor(grid[0] * scale + 1e-9), math.floor(grid[1] * scale + 1e-9))
    else:
        assert (rows, columns) == (1, n)


def test_counts_by_hand():
    assert Downsample().resized((24, 24)) == (12, 12)
    assert Downsample(n_keep=64).resized((24, 24)) == (8, 8)
    # no more than asked for, of a picture that is smaller than that all of it
    assert Downsample(n_keep=63).resized((24, 24)) == (7, 7)
    assert Downsample(n_keep=640).resized((24, 24)) == (24, 24)
    assert Downsample(1.0).resized((5, 7)) == (5, 7)
    assert Downsample(1.0).keeps_all
    assert Downsample(n_keep=2).resized((1, 9)) == (1, 2)


def packed(video, merge, side):
    """Patches of a video [F, C, H, W] of two frames a patch, in plain loops."""
    rows = []
    for f in range(0, len(video), 2):
        for a in range(video.shape[2] // (merge * side)):
            for b in range(video.shape[3] // (merge * side)):
                for i in range(merge):
                    for j in range(merge):
                        y, x = (a * merge + i) * side, (b * merge + j) * side
                        rows.append(video[f : f + 2, :, y : y + side, x : x + side].transpose(0, 1).flatten())
    return torch.stack(rows)


@pytest.mark.parametrize(("grid", "smaller", "frames"), [((4, 6), (2, 3), 1), ((3, 5), (2, 3), 2), ((2, 2), (2, 2), 1)])
def test_pixels_are_those_of_a_picture_scaled_as_a_whole(grid, smaller, frames):
    shape = PatchShape(channels=3, depth=2, side=4, merge=2)
    video = torch.randn(2 * frames, 3, grid[0] * 8, grid[1] * 8, generator=torch.Generator().manual_seed(1))
    small = torch.nn.functional.interpolate(video, (smaller[0] * 8, smaller[1] * 8), mode="bicubic", antialias=True)
    low, high = (getattr(video, way)((2, 3), keepdim=True) for way in ("amin", "amax"))
    wanted = packed(small.clamp(low, high), 2, 4)
    got = scaled(packed(video, 2, 4), frames, grid, smaller, shape)
    torch.testing.assert_close(got, wanted)


def test_a_plain_picture_stays_plain():
    shape = PatchShape(3, 1, 2, 1)
    made = scaled(torch.full((30, 12), 0.7), 1, (5, 6), (2, 3), shape)
    torch.testing.assert_close(made, torch.full((6, 12), 0.7))


def test_tokens_stand_in_the_middle_of_their_part():
    assert spread_places((4, 6), (2, 3)).tolist() == [7, 9, 11, 19, 21, 23]
    assert spread_places((3, 3), (3, 3)).tolist() == [*range(9)]
    assert spread_places((5, 1), (2, 1)).tolist() == [1, 3]


@pytest.mark.parametrize(
    "wrong",
    [{"keep_ratio": 0.0}, {"keep_ratio": 1.1}, {"n_keep": 0}, {"n_keep": True}, {"n_keep": 4, "keep_ratio": 0.3}],
)
def test_wrong_budgets_are_refused(wrong):
    with pytest.raises(ValueError, match="want"):
        Downsample(**wrong)
