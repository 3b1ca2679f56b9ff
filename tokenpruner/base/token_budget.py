"""How many visual tokens stay, said in one of three ways.

    keep_ratio     of each image or frame: ceil(N * keep_ratio)
    n_keep         so many of each image or frame, all of a smaller one
    n_keep_row     so many of all images and frames of a batch row together, shared out in proportion to their
                   sizes, with at least n_keep_least of each (all of a smaller one)

`keep_ratio` has a default, which steps aside where one of the other two is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prunekernels import budget


@dataclass(frozen=True)
class Budget:
    """The fields of a method that say how many tokens it keeps; raises ValueError unless they say it in one way."""

    keep_ratio: float = 0.5
    n_keep: int | None = None
    n_keep_row: int | None = None
    n_keep_least: int = 1

    def __post_init__(self) -> None:
        budget.check_keep_ratio(self.keep_ratio)
        for name, least in (("n_keep", 1), ("n_keep_row", 1), ("n_keep_least", 0)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ValueError(f"want {name} as a whole number of at least {least}, got {value!r}")
        said = [f"{name}={getattr(self, name)}" for name in ("n_keep", "n_keep_row") if getattr(self, name) is not None]
        if self.keep_ratio != type(self).keep_ratio:
            said.insert(0, f"keep_ratio={self.keep_ratio}")
        if len(said) > 1:
            raise ValueError(f"want one of keep_ratio, n_keep and n_keep_row, got {' and '.join(said)}")
        if self.n_keep_row is None and self.n_keep_least != type(self).n_keep_least:
            raise ValueError(f"n_keep_least goes with n_keep_row, got n_keep_least={self.n_keep_least} without it")
        if self.n_keep_row is not None and self.n_keep_row < self.n_keep_least:
            raise ValueError(f"want n_keep_row of at least n_keep_least={self.n_keep_least}, got {self.n_keep_row}")

    @property
    def keeps_all(self) -> bool:
        """True where no image, however large, loses a token."""
        return self.n_keep is None and self.n_keep_row is None and self.keep_ratio == 1

    def counts(self, sizes: Sequence[int], row: int = 0) -> list[int]:
        """How many tokens stay of each image and frame of one batch row, which have `sizes` tokens.

        Raises ValueError where `n_keep_row` is too small for `n_keep_least` of each.
        """
        if self.n_keep is not None:
            return [min(size, self.n_keep) for size in sizes]
        if self.n_keep_row is None:
            return [budget.n_keep(size, self.keep_ratio) for size in sizes]
        lower = [min(size, self.n_keep_least) for size in sizes]
        if self.n_keep_row < sum(lower):
            raise ValueError(
                f"row {row} has {len(sizes)} images or frames: want n_keep_row of at least {sum(lower)}, "
                f"{self.n_keep_least} of each, got {self.n_keep_row}"
            )
        return budget.allocate(min(self.n_keep_row, sum(sizes)), sizes, lower=lower).tolist()
