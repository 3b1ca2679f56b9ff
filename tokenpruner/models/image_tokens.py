"""Which visual tokens belong to which image.

Image features fill the placeholders in the order of the batch, row after row. With the layouts of the images the
placeholders are split exactly, also where images stand side by side, and videos into their frames; without them
each unbroken run of placeholders counts as one image. Newline tokens, which end the lines of a grid (LLaVA-NeXT,
LLaVA-OneVision), are placeholders as well and tokens of their image, though no patches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import torch

from tokenpruner.models.image_layouts import Grid, Layout
from tokenpruner.models.tower_reading import TowerReading

# rows and columns told by a count of tokens
GridOf = Callable[[int], Grid | None]


@dataclass(frozen=True)
class ImageTokens:
    """The `columns` [N] of batch row `row` that hold frame `frame` of its `number`-th image; int64, ascending.

    `views` are the grids that its tokens fill one after another, where they are known; `newlines` the columns of
    its newline tokens, which are none of them; `sample` which one of a packed row it belongs to. `reading` is what the
    vision tower said of the tokens in `read_columns`, those of the whole image or video.
    """

    row: int
    number: int
    columns: torch.Tensor
    frame: int = 0
    views: tuple[Grid, ...] = ()
    newlines: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    sample: int = 0
    reading: TowerReading | None = None
    read_columns: torch.Tensor | None = None

    @property
    def size(self) -> int:
        """How many tokens it is, newlines among them."""
        return len(self.columns) + len(self.newlines)

    def own_reading(self) -> TowerReading | None:
        """What the tower said of `columns`."""
        if self.reading is None or self.read_columns is None:
            return None
        # `columns` are among those, so that as many are all of them
        if len(self.columns) == len(self.read_columns):
            return self.reading
        places = torch.searchsorted(self.read_columns, self.columns)
        return self.reading.map(lambda values: values[places.to(values.device)])

    def without(self, dropped: torch.Tensor) -> ImageTokens:
        """What is left of it without the tokens `dropped` bool [B, L], which is no grid any more."""
        gone = dropped[self.row]
        columns, newlines = (own[~gone[own]] for own in (self.columns, self.newlines.to(self.columns.device)))
        return (
            self if len(columns) == len(self.columns) else replace(self, columns=columns, newlines=newlines, views=())
        )

    def with_newlines_among(self) -> ImageTokens:
        """The same image whose newline tokens are tokens like others, each at the end of its line."""
        n_lines = len(self.newlines)
        if not n_lines:
            return self
        columns = torch.cat([self.columns, self.newlines]).sort().values
        height, width = self.views[-1] if self.views else (0, 0)
        # one behind each line of the picture in detail, or behind all that there is
        detail = ((height, width + 1),) if n_lines == height else ((height, width), (1, n_lines))
        views = (*self.views[:-1], *detail) if self.views and n_lines in (1, height) else ((1, len(columns)),)
        return replace(self, columns=columns, newlines=columns[:0], views=views)


def find(visual: torch.Tensor, layouts: Sequence[Layout] | None = None) -> list[ImageTokens]:
    """The images and frames of `visual` [B, L] (bool, True where a visual token stands), in order."""
    if visual.ndim != 2 or visual.dtype != torch.bool:
        raise ValueError(f"want the visual tokens as bool [B, L], got {visual.dtype} {[*visual.shape]}")
    rows, columns = visual.nonzero(as_tuple=True)
    known = [Layout(run) for run in _runs(rows, columns)] if layouts is None else [own for own in layouts if own.size]
    lengths = [layout.size for layout in known]
    if sum(lengths) != len(rows):
        raise ValueError(f"want as many image tokens as image features, got {len(rows)} and {sum(lengths)}")
    ends = [*accumulate(lengths, initial=0)]
    # one copy from the device for all images
    first_and_last = rows[[place for end in ends[1:] for place in (end - 1,)] + ends[:-1]].tolist() if known else []
    lasts, firsts = first_and_last[: len(known)], first_and_last[len(known) :]
    images: list[ImageTokens] = []
    for layout, row, last, own_columns in zip(known, firsts, lasts, columns.split(lengths), strict=True):
        if last != row:
            raise ValueError(f"want every image within one row, got one that runs from row {row} into the next")
        number = images[-1].number + 1 if images and images[-1].row == row else 0
        frames = _frames(ImageTokens(row, number, own_columns), layout)
        if layout.reading is not None:
            frames = [replace(one, reading=layout.reading, read_columns=own_columns) for one in frames]
        images += frames
    return images


def numbered(kinds: Sequence[Sequence[ImageTokens]]) -> list[ImageTokens]:
    """Images of several kinds in the order of the rows, numbered anew within each row."""
    all_images = [(kind, image) for kind, own in enumerate(kinds) for image in own]
    firsts = torch.stack([image.columns[0] for _, image in all_images]).tolist() if all_images else []
    found = [(image.row, first, kind, image) for (kind, image), first in zip(all_images, firsts, strict=True)]
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
    """The frames of an image or video, each with the newlines that follow its patches."""
    columns, newlines = image.columns, {*layout.newlines}
    if not newlines:
        return [
            ImageTokens(image.row, image.number, own, frame, layout.views)
            for frame, own in enumerate(columns.chunk(layout.n_frames))
        ]
    patches = [place for place in range(len(columns)) if place not in newlines]
    size = max(1, -(-len(patches) // layout.n_frames))
    own_newlines: dict[int, list[int]] = {}
    for number, place in enumerate(layout.newlines):
        # so many patches stand before it
        frame = max(place - number - 1, 0) // size
        own_newlines.setdefault(min(frame, layout.n_frames - 1), []).append(place)
    return [
        ImageTokens(image.row, image.number, own, frame, layout.views, columns[own_newlines.get(frame, [])])
        for frame, own in enumerate(columns[patches].split(size))
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
