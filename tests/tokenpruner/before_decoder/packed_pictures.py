"""Families whose pictures are packed patches, and such pictures with patches that repeat."""

from __future__ import annotations

import pytest

QWEN = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
each = pytest.mark.parametrize("name", QWEN)

# of a picture whose lines 1 and 2 are plain: the cells that the tower sees
LINES = [0, 1, 2, 3, 4, 12, 13, 14, 15]


def with_repeats(pixels):
    """Packed pictures of 4 x 4 cells: in the first the lines 1 and 2 are plain, the second is plain as a whole."""
    cells = pixels.clone().view(-1, 16, 4, pixels.shape[1])
    cells[0, 4:12] = cells[0, 4:5]
    if len(cells) > 1:
        cells[1] = cells[1, :1]
    return cells.view_as(pixels)
