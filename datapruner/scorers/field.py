"""A number that the row has already, as in `int_score`, `meta.language_score` or a similarity of image and caption.

    score = row[name]

Which direction is more, the field says. A flag is 0 or 1. A row without a finite number there is refused, with its
place. `threshold` cuts at it, `top` and the others rank by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State


@dataclass(frozen=True)
class Field(Scorer):
    """Rule: the number in the field `name` of the row; a path such as `meta.score` leads into objects."""

    name: str = "score"

    needs: ClassVar[tuple[str, ...]] = ()
    is_cheap: ClassVar[bool] = True
    direction: ClassVar[str] = "higher is more of what the field measures"
    cost: ClassVar[str] = "a look-up"

    def check(self) -> None:
        if not self.name:
            raise ValueError("field wants the name of a field, as in field:name=int_score")

    def vectors(self) -> tuple[str, ...]:
        return (self.name,)

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        numbers = batch.vectors[self.name]
        if numbers.shape[1] != 1:
            raise ValueError(f"field wants one number in {self.name!r}, got lists of {numbers.shape[1]}")
        return numbers[:, 0]
