"""What a method before the vision tower is: it sees pixels, and the tower is given less of them.

A picture is a grid of cells, each of which becomes one visual token: a patch, or the m x m patches that a tower merges,
so that the patches of a cell stay or go together. A method writes one of two things:

    resized    rows and columns of cells that the picture is scaled down to
    sources    for each cell the cell whose pixels it repeats: itself, which the tower sees, or another that it sees

It sees one picture at a time, and of a video one frame: its choice hangs neither on batch mates nor on padding.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, get_args

import torch

from tokenpruner.base.method_output import checked_indices
from tokenpruner.base.positions import Place, Positions
from tokenpruner.base.token_method import TokenMethod, check_choice
from tokenpruner.models.image_layouts import Grid


@dataclass(frozen=True)
class PixelMethod(TokenMethod):
    """The base of the methods before the vision tower."""

    _: KW_ONLY
    positions: Positions = "auto"

    # where the authors' code has the tokens that are left
    published_positions: ClassVar[Place] = "keep"
    # what it reads, in words, for docs/methods.md
    reads: ClassVar[str] = "pixels"

    def __post_init__(self) -> None:
        # how attention is calibrated is said of tokens that go behind the tower
        check_choice("positions", self.positions, [own for own in get_args(Positions) if own != "calibrated"])

    @property
    def resizes(self) -> bool:
        """True where pictures are scaled down, False where cells leave."""
        return type(self).resized is not PixelMethod.resized

    def resized(self, grid: Grid) -> Grid:
        """Rows and columns of cells that a picture of `grid` is scaled down to."""
        return grid

    def sources(self, cells: torch.Tensor) -> torch.Tensor:
        """For each of `cells` [F, H, W, V], frames of pixels, the cell of its frame that it repeats; int64 [F, H, W].

        A cell is told by its number in the frame, line after line; one that the tower sees is told by its own.
        """
        raise NotImplementedError(f"{type(self).__name__} writes neither resized nor sources")

    def checked_resized(self, grid: Grid) -> Grid:
        """What `resized` gave; raises ValueError unless it is a grid that is no larger."""
        found = self.resized(grid)
        fits = isinstance(found, tuple) and len(found) == 2 and all(type(side) is int for side in found)
        if not fits or not all(1 <= side <= most for side, most in zip(found, grid, strict=True)):
            raise ValueError(f"{type(self).__name__}: want rows and columns from 1 to {grid}, got {found!r:.80}")
        return found

    def checked_sources(self, cells: torch.Tensor) -> torch.Tensor:
        """What `sources` gave, int64 [F, H W]; raises ValueError unless each is a cell that is told by its own number.

        It is looked at, which waits for the device: how long sequences are hangs on it.
        """
        shape = tuple(cells.shape[:3])
        wanted = f"{type(self).__name__}: want sources int64 {[*shape]}"
        found = checked_indices(self.sources(cells), shape, wanted).flatten(1)
        n_cells = found.shape[1]
        within = bool(((found >= 0) & (found < n_cells)).all())
        if not within or not torch.equal(found.gather(1, found), found):
            raise ValueError(f"{wanted}, each a cell from 0 to {n_cells - 1} whose source is itself, got others")
        return found
