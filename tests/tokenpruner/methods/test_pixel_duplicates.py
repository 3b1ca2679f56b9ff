"""PixelPrune against its rule taken cell by cell, and by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tokenpruner.methods.pixel_duplicates import PixelDuplicates


def literal(cells, tau):
    """One cell after another, line by line; cells that went count as what was seen in their place."""
    height, width, _ = cells.shape
    seen = [[0] * width for _ in range(height)]

    def far(one, other):
        return float((cells.view(height * width, -1)[one] - cells.view(height * width, -1)[other]).abs().max())

    for r in range(height):
        for c in range(width):
            own = r * width + c
            if own == 0:
                continue
            left = seen[r][c - 1] if c else None
            above = seen[r - 1][c] if r else None
            if left is None or above is None:
                predicted = above if left is None else left
            else:
                corner = seen[r - 1][c - 1]
                predicted = above if far(corner, left) <= tau and far(corner, above) > tau else left
            seen[r][c] = predicted if far(own, predicted) <= tau else own
    return torch.tensor(seen)


def picture(height, width, seed, n_colours=3, noise=0.0):
    """Rectangles of a few colours upon each other."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.zeros(height, width, 5)
    for _ in range(6):
        r, c = (int(torch.randint(side, (1,), generator=generator)) for side in (height, width))
        rows, columns = (int(torch.randint(1, side + 1, (1,), generator=generator)) for side in (height, width))
        cells[r : r + rows, c : c + columns] = float(torch.randint(n_colours, (1,), generator=generator))
    return cells + noise * torch.randn(height, width, 5, generator=generator)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("tau", "noise"), [(0.0, 0.0), (0.3, 0.1), (0.8, 0.3), (1.2, 0.0)])
def test_is_the_rule_taken_cell_by_cell(seed, tau, noise):
    frames = torch.stack([picture(7, 9, 2 * seed + own, noise=noise) for own in range(2)])
    found = PixelDuplicates(tau).sources(frames)
    assert torch.equal(found, torch.stack([literal(frame, tau) for frame in frames]))
    left = found[0].unique()
    assert 1 <= len(left) < 63 or tau < noise


def test_a_rectangle_costs_its_corners():
    """A box on a plain ground: its first cell, and the cells where the ground begins again."""
    cells = torch.zeros(1, 6, 8, 1)
    cells[:, 2:4, 3:6] = 1
    found = PixelDuplicates().sources(cells)[0]
    stays = (found.flatten() == torch.arange(48)).nonzero().flatten().tolist()
    # the box at line 2, column 3, the ground on its right; nothing in the line below, which is predicted from above
    assert stays == [0, 2 * 8 + 3, 2 * 8 + 6, 4 * 8 + 3]


def test_errors_do_not_add_up():
    """A slow ramp: each cell is like its neighbour, but not like the one that is seen in its place."""
    cells = torch.arange(12).view(1, 1, 12, 1) * 0.4
    found = PixelDuplicates(1.0).sources(cells)[0, 0]
    assert found.tolist() == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9]
    flat = cells.flatten()
    assert float((flat - flat[found]).abs().max()) <= 1.0


def test_one_pixel_is_enough_to_stay():
    cells = torch.zeros(1, 1, 2, 100)
    cells[0, 0, 1, 57] = 1e-3
    assert PixelDuplicates().sources(cells).flatten().tolist() == [0, 1]
    assert PixelDuplicates(1e-3).sources(cells).flatten().tolist() == [0, 0]


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, True, "0"])
def test_wrong_thresholds_are_refused(wrong):
    with pytest.raises(ValueError, match="want tau"):
        PixelDuplicates(wrong)
