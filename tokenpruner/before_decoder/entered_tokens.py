"""Behind a tower that was given fewer patches: the tokens of those that it saw enter the decoder, the others do not.

Where pictures were scaled down, positions of three parts are those of the smaller picture:

    height, width    counted in its rows and columns, from where the picture begins
    what follows     earlier by as much as the larger side became smaller, as transformers numbers pictures
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import nn

from tokenpruner.base.before_decoder import Choice, Context, Method
from tokenpruner.base.token_method import Newlines
from tokenpruner.models.adapter import Encoded
from tokenpruner.models.image_layouts import Layout
from tokenpruner.models.image_tokens import ImageTokens
from tokenpruner.models.tower_reader import Calls, TowerReader
from tokenpruner.models.tower_reading import TowerReading


@dataclass(frozen=True)
class EnteredTokens(Method):
    """Rule: tokens of which the tower saw a patch; all of them where it `saw_all`."""

    newlines: Newlines = "keep"
    saw_all: bool = False

    @property
    def keeps_all(self) -> bool:
        """True where the tower is given everything."""
        return self.saw_all

    def counts(self, sizes: Sequence[int], row: int = 0) -> list[int]:
        """As many as there are: which of them entered is up to the pictures."""
        return [*sizes]

    def select_frames(self, frames: Sequence[Context], counts: Sequence[int]) -> Choice:
        """Those that entered, of each frame."""
        if self.saw_all:
            return super().select_frames(frames, counts)
        own = [_entered(frame.tower, frame.image, frame.row).to(frame.visual.device) for frame in frames]
        return Choice(own)


class PatchReader(TowerReader):
    """Says of each visual token which share of its patches the tower saw; it is told by who gave the tower fewer."""

    def __init__(self, merger: nn.Module, tower: nn.Module) -> None:
        self.merger, self.tower, self.calls = merger, tower, Calls()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """While open, it is known how patches are packed and pooled."""
        with self.arranged():
            yield

    def forget(self) -> None:
        """Hold nothing more of this thread."""
        self.calls.clear()

    def _grouped(self, values: torch.Tensor, layouts: Sequence[Layout], encoded: Encoded) -> torch.Tensor | None:
        """A token is a patch: towers that take fewer are known to hand them on so."""
        return values if len(values) == sum(layout.size for layout in layouts) else None

    def add(self, entered: torch.Tensor) -> None:
        """The patches [S] of one pass of the tower, in the order of its blocks."""
        self.calls.readings.append(TowerReading(entered=entered.float()))

    def _unknown(self, n_patches: int, n_tokens: int) -> ValueError:
        return ValueError(
            f"{type(self.merger).__name__} makes {n_tokens} visual tokens of {n_patches} patches, and which of which "
            "is not known: methods before the tower cannot serve it, those behind it can, such as divprune"
        )


def as_smaller_pictures(
    position_ids: torch.Tensor, images: Sequence[ImageTokens], samples: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`position_ids` [3 or more, B, L], time, height and width last, as of pictures of the tokens that entered.

    Second: by how much the last token of each row comes earlier, int64 [B].
    """
    found, length = position_ids.clone(), position_ids.shape[-1]
    moved = torch.zeros(found.shape[-2], dtype=torch.int64, device=found.device)

    def block(image: ImageTokens) -> tuple[int, int, int]:
        # frames in one block of positions begin at one height
        return image.row, image.number, int(position_ids[-2, image.row, image.columns].min())

    for (row, _, _), group in groupby(images, key=block):
        frames = [*group]
        is_later = torch.arange(length, device=found.device) > int(frames[-1].columns[-1])
        if samples is not None:
            is_later &= samples[row] == frames[0].sample
        follows = position_ids[-1, row][is_later][:1].tolist()
        gone = _as_smaller(found[-3:, row], position_ids[-3:, row], frames, *follows)
        found[:, row, is_later] -= gone
        if samples is None or int(samples[row, -1]) == frames[0].sample:
            moved[row] += gone
    return found, moved


def _as_smaller(
    found: torch.Tensor, before: torch.Tensor, frames: Sequence[ImageTokens], follows: float | None = None
) -> int:
    """Number the frames [3, L] of a block as smaller ones, and say by how much what follows comes earlier.

    `before` are the model's own numbers, `follows` that of the next token where there is one.
    """
    columns = torch.cat([frame.columns for frame in frames])
    entered = [_entered(frame.own_reading(), frame.number, frame.row).to(found.device) for frame in frames]
    start, begin = found[-2, columns].min(), int(before[-2, columns].min())
    if len(columns) > 1 and torch.equal(before[-2, columns], before[-1, columns]):
        # a picture that is numbered like text
        kept = torch.cat([frame.columns[places] for frame, places in zip(frames, entered, strict=True)])
        found[:, kept] = start + torch.arange(len(kept), device=found.device).to(found.dtype)
        return len(columns) - len(kept)
    sides, whole = [1], [1]
    for frame, places in zip(frames, entered, strict=True):
        if len(frame.views) != 1:
            raise ValueError(f"the grid of image {frame.number} of row {frame.row} is not known")
        ((_, width),) = frame.views
        for axis, lines in ((-2, places // width), (-1, places % width)):
            distinct, number = lines.unique(return_inverse=True)
            found[axis, frame.columns[places]] = start + number.to(found.dtype)
            sides.append(len(distinct))
        whole += frame.views[0]
    # where what follows is later than sides say, a video's time counts too
    time_counts = follows is not None and follows - begin > max(whole)
    return 0 if time_counts else max(whole) - max(sides)


def _entered(reading: TowerReading | None, image: int, row: int) -> torch.Tensor:
    """The tokens of which the tower saw a patch; int64 [n], ascending."""
    if reading is None or reading.entered is None:
        raise ValueError(
            f"image {image} of row {row} did not come through the vision tower inside this `with`: want its pixels, "
            "of features that were made before it is not known what the tower saw"
        )
    return (reading.entered > 0).nonzero().flatten()
