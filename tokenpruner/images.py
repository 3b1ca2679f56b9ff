"""Which visual tokens belong to which image.

Image features fill the placeholders in the order of the batch, row after row. With the sizes of the images the
placeholders are split exactly, also where images stand side by side; without them each unbroken run of
placeholders counts as one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class Image:
    """The `columns` [N] of batch row `row` that hold its `number`-th image; int64, ascending."""

    row: int
    number: int
    columns: torch.Tensor


def find(visual: torch.Tensor, sizes: Sequence[int] | None = None) -> list[Image]:
    """The images of `visual` [B, L] (bool, True where a visual token stands), in order."""
    if visual.ndim != 2 or visual.dtype != torch.bool:
        raise ValueError(f"want the visual tokens as bool [B, L], got {visual.dtype} {[*visual.shape]}")
    rows, columns = visual.nonzero(as_tuple=True)
    lengths = _runs(rows, columns) if sizes is None else [size for size in sizes if size]
    if sum(lengths) != len(rows):
        raise ValueError(f"want as many image tokens as image features, got {len(rows)} and {sum(lengths)}")
    images: list[Image] = []
    for own_rows, own_columns in zip(rows.split(lengths), columns.split(lengths), strict=True):
        row = int(own_rows[0])
        if int(own_rows[-1]) != row:
            raise ValueError(f"want every image within one row, got one that runs from row {row} into the next")
        number = images[-1].number + 1 if images and images[-1].row == row else 0
        images.append(Image(row, number, own_columns))
    return images


def numbered(found: Sequence[Image]) -> list[Image]:
    """Images of several kinds in the order of the rows, numbered anew within each row."""
    ordered = sorted(found, key=lambda image: (image.row, int(image.columns[0])))
    counts: dict[int, int] = {}
    images: list[Image] = []
    for image in ordered:
        number = counts.get(image.row, 0)
        counts[image.row] = number + 1
        images.append(replace(image, number=number))
    return images


def _runs(rows: torch.Tensor, columns: torch.Tensor) -> list[int]:
    """Lengths of the runs of neighbouring columns."""
    if not len(rows):
        return []
    breaks = ((rows.diff() != 0) | (columns.diff() != 1)).nonzero().flatten() + 1
    edges = [0, *breaks.tolist(), len(rows)]
    return [end - start for start, end in zip(edges, edges[1:], strict=False)]
