"""A smaller picture: each side scaled by the root of what is to stay (Liao et al. 2025, arXiv:2510.07143).

    sides   floor(h sqrt(n / (h w))) and floor(w sqrt(n / (h w))) of h x w cells, at least 1

The baseline that many methods do not beat on benchmarks of vision-language models, and the one that saves most: tower
and decoder see fewer tokens, and choosing costs nothing. It is for towers that take pictures of any size (Qwen-VL). The
pixels that a processor made are scaled again, by a bicubic filter that averages what it leaves out; whoever can hand
the processor a smaller picture in the first place gets the same, and saves the processor's time too. Tokens stand where
those of a smaller picture stand; with positions="keep" where their parts of the large one would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from prunekernels import budget
from tokenpruner.base.before_tower import PixelMethod
from tokenpruner.base.positions import Place
from tokenpruner.models.image_layouts import Grid


@dataclass(frozen=True)
class Downsample(PixelMethod):
    """Paper: Liao et al. 2025 (arXiv:2510.07143); the picture scaled down before the vision tower.

    Cells of the smaller picture are at most a `keep_ratio` of those there were, or `n_keep`.
    """

    keep_ratio: float = 0.25
    n_keep: int | None = None

    cost: ClassVar[str] = "one pass over the pixels"
    published_count: ClassVar[str] = "25, 11.1, 6.25 and 4 % of the pixels: sides by 2, 3, 4 and 5"
    published_positions: ClassVar[Place] = "compact"
    reads: ClassVar[str] = "the grid alone"

    def __post_init__(self) -> None:
        super().__post_init__()
        budget.check_keep_ratio(self.keep_ratio)
        n = self.n_keep
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
            raise ValueError(f"want n_keep as a whole number of at least 1, got {n!r}")
        if n is not None and self.keep_ratio != type(self).keep_ratio:
            raise ValueError(f"want one of keep_ratio and n_keep, got keep_ratio={self.keep_ratio} and n_keep={n}")

    @property
    def keeps_all(self) -> bool:
        """True where no picture, however large, is scaled."""
        return self.n_keep is None and self.keep_ratio == 1

    def resized(self, grid: Grid) -> Grid:
        """The largest picture of about the same shape that has no more cells than are to stay."""
        height, width = grid
        n_cells = height * width
        n = budget.n_keep(n_cells, self.keep_ratio) if self.n_keep is None else min(n_cells, self.n_keep)
        # whole numbers: floor(h sqrt(n / (h w))) = floor(sqrt(h n / w))
        rows, columns = (math.isqrt(height * n // width), math.isqrt(width * n // height))
        if not rows or not columns:
            # one line of a long strip
            return (1, min(width, n)) if not rows else (min(height, n), 1)
        return rows, columns
