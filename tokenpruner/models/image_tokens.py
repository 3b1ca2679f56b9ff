"""Which visual tokens belong to which image.

Image features fill the placeholders in the order of the batch, row after row. With the layouts of the images the
placeholders are split exactly, also where images stand side by side, and videos into their frames; without them
each unbroken run of placeholders counts as one image. Newline tokens, which end the lines of a grid, are
placeholders as well; they belong to no image, so that nothing drops or counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from tokenpruner.models.image_layouts import Grid, Layout

# rows and columns told by a count of tokens
GridOf = Callable[[int], Grid | None]


@dataclass(frozen=True)
class ImageTokens:
    """The `columns` [N] of batch row `row` that hold frame `frame` of its `number`-th image; int64, ascending.

    `views` are the grids that its tokens fill one after another, where they are known; `newlines` the columns of
    the image's other tokens, told by its first frame; `sample` which one of a packed row it belongs to.
    """

    row: int
    number: int
    columns: torch.Tensor
    frame: int = 0
    views: tuple[Grid, ...] = ()
    newlines: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    sample: int = 0

    def places(self) -> Sequence[int]:
        """Its columns as numbers; a range, which takes no memory, where they are neighbours."""
        first, last = int(self.columns[0]), int(self.columns[-1])
        return range(first, last + 1) if last - first + 1 == len(self.columns) else tuple(self.columns.tolist())


def find(visual: torch.Tensor, layouts: Sequence[Layout] | None = None) -> list[ImageTokens]:
    """The images and frames of `visual` [B, L] (bool, True where a visual token stands), in order."""
    if visual.ndim != 2 or visual.dtype != torch.bool:
        raise ValueError(f"want the visual tokens as bool [B, L], got {visual.dtype} {[*visual.shape]}")
    rows, columns = visual.nonzero(as_tuple=True)
    known = [Layout(run) for run in _runs(rows, columns)] if layouts is None else [own for own in layouts if own.size]
    lengths = [layout.size for layout in known]
    if sum(lengths) != len(rows):
        raise ValueError(f"want as many image tokens as image features, got {len(rows)} and {sum(lengths)}")
    images: list[ImageTokens] = []
    for layout, own_rows, own_columns in zip(known, rows.split(lengths), columns.split(lengths), strict=True):
        row = int(own_rows[0])
        if int(own_rows[-1]) != row:
            raise ValueError(f"want every image within one row, got one that runs from row {row} into the next")
        number = images[-1].number + 1 if images and images[-1].row == row else 0
        images += _frames(ImageTokens(row, number, own_columns), layout)
    return images


def numbered(kinds: Sequence[Sequence[ImageTokens]]) -> list[ImageTokens]:
    """Images of several kinds in the order of the rows, numbered anew within each row."""
    found = [(image.row, int(image.columns[0]), kind, image) for kind, own in enumerate(kinds) for image in own]
    found.sort(key=lambda entry: entry[:2])
    numbers: dict[int, dict[tuple[int, int], int]] = {}
    images: list[ImageTokens] = []
    for row, _, kind, image in found:
        known = numbers.setdefault(row, {})
        images.append(replace(image, number=known.setdefault((kind, image.number), len(known))))
    return images


def with_samples(images: Sequence[ImageTokens], samples: torch.Tensor | None) -> list[ImageTokens]:
    """`images` told which sample of a packed row they belong to, by the `samples` int64 [B, L] of the tokens."""
    if samples is None:
        return [*images]
    numbers = torch.stack([samples[image.row, image.columns[0]] for image in images]).tolist()
    return [replace(image, sample=number) for image, number in zip(images, numbers, strict=True)]


def _frames(image: ImageTokens, layout: Layout) -> list[ImageTokens]:
    """The frames of an image or video, without its newlines."""
    columns = image.columns
    is_patch = torch.ones(len(columns), dtype=torch.bool, device=columns.device)
    is_patch[torch.tensor(layout.newlines, dtype=torch.int64, device=columns.device)] = False
    none = columns[:0]
    return [
        ImageTokens(image.row, image.number, own, frame, layout.views, none if frame else columns[~is_patch])
        for frame, own in enumerate(columns[is_patch].chunk(layout.n_frames))
    ]


def _runs(rows: torch.Tensor, columns: torch.Tensor) -> list[int]:
    """Lengths of the runs of neighbouring columns."""
    if not len(rows):
        return []
    breaks = ((rows.diff() != 0) | (columns.diff() != 1)).nonzero().flatten() + 1
    edges = [0, *breaks.tolist(), len(rows)]
    return [end - start for start, end in zip(edges, edges[1:], strict=False)]


def views_of(image: ImageTokens, grid: GridOf) -> tuple[Grid | None, tuple[Grid, ...]]:
    """The image's one grid, or the several that its tokens fill."""
    told = grid(len(image.columns))
    views = image.views or ((told,) if told else ())
    return (views[0], ()) if len(views) == 1 else (None, views)
