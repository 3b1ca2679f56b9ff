"""How the tokens of an image or a video lie: frames, grids of patches, and tokens that are no patches.

It is read off what the features say and off the arguments that they were made with:

    newlines   tokens equal to the model's `image_newline` (LLaVA-NeXT, LLaVA-OneVision) end the lines of a grid
    grid_thw   frames, rows and columns before patches are merged (Qwen, GLM): merged m x m where m^2 fits the count
    videos     pixels [videos, frames, channels, height, width]: equal frames
    sizes      height and width of an image whose patches are squares (Pixtral, Mistral 3)
    otherwise  one frame, whose grid is a square if its count is one and else is not known
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch.utils.weak import WeakIdKeyDictionary

from tokenpruner.models.tower_reading import TowerReading

Grid = tuple[int, int]
Given = Mapping[str, object]


@dataclass(frozen=True)
class Layout:
    """The `size` tokens of one image or video.

    Without its `newlines`, the places of tokens that are no patches, it has `n_frames` equal parts, in each of
    which the grids `views` (rows, columns) follow one another: one, or an overview and the picture in detail, or
    none that is known. `reading` is what the vision tower said of its tokens, where that was asked for.
    """

    size: int
    n_frames: int = 1
    views: tuple[Grid, ...] = ()
    newlines: tuple[int, ...] = ()
    reading: TowerReading | None = field(default=None, compare=False)

    def with_newlines(self, values: torch.Tensor) -> torch.Tensor:
        """The `values` [P, W] of its patches with zeros where newlines stand; [N, W]."""
        is_patch = torch.ones(self.size, dtype=torch.bool, device=values.device)
        is_patch[list(self.newlines)] = False
        return values.new_zeros(self.size, *values.shape[1:]).index_copy(0, is_patch.nonzero()[:, 0], values)


def square(n_tokens: int) -> tuple[Grid, ...]:
    """The one grid of a square number of tokens."""
    side = math.isqrt(n_tokens)
    return ((side, side),) if n_tokens and side * side == n_tokens else ()


def layouts_of(
    output: object, given: Given, newline: torch.Tensor | None = None, is_video: bool = False
) -> list[Layout] | None:
    """Layouts of the features in `output`, [images, N, D] or one [N, D] an image; None where they have another form.

    `given` are the arguments they were made with, by name. A video may also have features [frames, N, D].
    """
    parts = _parts(output, is_video)
    if parts is None:
        return None
    clips = [own for own in given.values() if is_video and isinstance(own, torch.Tensor) and own.ndim == 5]
    n_videos, n_frames = clips[0].shape[:2] if clips else (0, 1)
    if n_frames > 1 and len(parts) == n_frames * n_videos:
        # features of each frame, not of each video
        parts = [torch.cat(parts[first : first + n_frames]) for first in range(0, len(parts), n_frames)]
    grids, sizes = (_table(given, end, width, len(parts)) for end, width in (("grid_thw", 3), ("image_sizes", 2)))
    return [
        _one(part, newline, n_frames, grids[number] if grids else None, sizes[number] if sizes else None)
        for number, part in enumerate(parts)
    ]


def _one(
    part: torch.Tensor, newline: torch.Tensor | None, n_frames: int, thw: list[int] | None, size: list[int] | None
) -> Layout:
    """The layout of one image or video whose features are `part` [N, D]."""
    n_tokens, newlines = len(part), _newlines(part, newline)
    n_patches = n_tokens - len(newlines)
    if newlines and n_frames == 1:
        return Layout(n_tokens, 1, _lines(newlines, n_tokens), newlines)
    if thw is not None:
        merged = _merged(n_tokens, thw)
        return Layout(n_tokens, thw[0], (merged,)) if merged else Layout(n_tokens, 1, square(n_tokens))
    if n_patches % n_frames:
        return Layout(n_tokens, 1, (), newlines)
    whole = _patched(n_patches, size) if size is not None and n_frames == 1 else ()
    return Layout(n_tokens, n_frames, whole or square(n_patches // n_frames), newlines)


def with_last_newline(known: list[Layout] | None, features: object) -> list[Layout] | None:
    """`known` as the placeholders have it: older releases put a newline behind each video after it was encoded."""
    if known is None or not isinstance(features, torch.Tensor):
        return known
    n_more = features.numel() // features.shape[-1] - sum(own.size for own in known)
    if n_more != len(known):
        return known
    return [replace(own, size=own.size + 1, newlines=(*own.newlines, own.size)) for own in known]


def _parts(output: object, is_video: bool) -> list[torch.Tensor] | None:
    features = getattr(output, "pooler_output", output)
    if isinstance(features, torch.Tensor) and features.ndim == 3:
        return [*features]
    if not isinstance(features, list | tuple) or not all(isinstance(own, torch.Tensor) for own in features):
        return None
    if is_video:
        features = [own.flatten(0, 1) if own.ndim == 3 else own for own in features]
    return [*features] if all(own.ndim == 2 for own in features) else None


def _newlines(part: torch.Tensor, newline: torch.Tensor | None) -> tuple[int, ...]:
    if newline is None or newline.shape != part.shape[1:]:
        return ()
    return tuple((part == newline.to(part)).all(-1).nonzero().flatten().tolist())


def _lines(newlines: tuple[int, ...], n_tokens: int) -> tuple[Grid, ...]:
    """An overview without newlines, then lines of equal length that end with one; () where it is not so."""
    widths = {after - before - 1 for before, after in zip(newlines, newlines[1:], strict=False)}
    if newlines[-1] != n_tokens - 1 or len(widths) > 1 or 0 in widths:
        return ()
    if not widths:
        return square(n_tokens - 1)
    (width,) = widths
    n_before = newlines[0] - width
    detail = (len(newlines), width)
    return (*square(n_before), detail) if n_before == 0 or square(n_before) else ()


def _merged(n_tokens: int, thw: list[int]) -> Grid | None:
    """The grid of a frame after m x m patches became one token; None where no such m fits."""
    times, height, width = thw
    merge = math.isqrt(times * height * width // n_tokens) if n_tokens else 0
    if merge == 0 or height % merge or width % merge or times * height * width != n_tokens * merge**2:
        return None
    return height // merge, width // merge


def _patched(n_patches: int, size: list[int]) -> tuple[Grid, ...]:
    """The grid of a picture of `size` pixels cut into squares; () where no whole number of pixels fits."""
    height, width = size
    side = math.isqrt(height * width // n_patches) if n_patches else 0
    fits = side and height % side == 0 and width % side == 0 and height * width == n_patches * side**2
    return ((height // side, width // side),) if fits else ()


def _table(given: Given, end: str, width: int, n_rows: int) -> list[list[int]] | None:
    """The argument whose name ends so, [images, width], as numbers."""
    for name, value in given.items():
        if name.endswith(end) and value is not None:
            rows = value.tolist() if isinstance(value, torch.Tensor) else [[int(x) for x in row] for row in value]  # type: ignore[attr-defined]
            return rows if len(rows) == n_rows and all(len(row) == width for row in rows) else None
    return None


class LayoutMemory:
    """Layouts of features made earlier: generate() encodes ahead of its first pass, and repeats them for beams."""

    def __init__(self) -> None:
        self._known: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def note(self, output: object, layouts: list[Layout] | None) -> None:
        """Remember the layouts of `output` for as long as it lives."""
        features = getattr(output, "pooler_output", None)
        if layouts is not None and features is not None:
            is_list = isinstance(features, list | tuple)
            # rows of one tensor are told apart by what they hold, where they were read one by one
            rows = [*features] if is_list or any(own.reading for own in layouts) else None
            self._known[output] = (rows, layouts)

    def of(self, output: object, newline: torch.Tensor | None) -> list[Layout] | None:
        """The layouts of `output`, whose features may have been repeated; read anew where it is not known."""
        fresh = layouts_of(output, {}, newline)
        if fresh is None or output not in self._known:
            return fresh
        parts, layouts = self._known[output]
        if parts is None:
            # one tensor: all are alike in size
            alike = len({*layouts}) == 1 and layouts[0].size == fresh[0].size
            return layouts[:1] * len(fresh) if alike else fresh
        own = getattr(output, "pooler_output", ())
        same = operator.is_ if isinstance(own, list | tuple) else torch.equal
        known = [next((number for number, part in enumerate(parts) if same(part, one)), None) for one in own]
        return [layout if number is None else layouts[number] for number, layout in zip(known, fresh, strict=True)]
