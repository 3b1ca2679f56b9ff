"""A number of the row's group, by a field such as `meta.site`: what samples whole groups, and what `per` goes by.

    score = the top 24 bits of a hash of the group's name and a seed, over 2^24, in [0, 1)

Rows of one group have one score, and groups lie evenly: `threshold:maximum=0.1` keeps a tenth of the sites, each whole.
The name itself is the detail `group`: a table has as many groupings as it has columns of this kind, without scoring
anything again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.corpus.uids import hash64, splitmix64
from datapruner.scoring.scorer import Batch, Scorer


@dataclass(frozen=True)
class Group(Scorer):
    """Rule: uniform in [0, 1) by the text in the field `name`; a path such as `meta.site` leads into objects."""

    name: str = "group"
    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()
    is_cheap: ClassVar[bool] = True
    direction: ClassVar[str] = "none: uniform in [0, 1), the same for all rows of a group"
    cost: ClassVar[str] = "a look-up"
    default_selector: ClassVar[str] = "threshold:maximum=0.1"

    def check(self) -> None:
        if not self.name:
            raise ValueError("group wants the name of a field, as in group:name=meta.site")

    def fields(self) -> tuple[str, ...]:
        return (self.name,)

    def score(self, batch: Batch) -> np.ndarray:
        keys = splitmix64(hash64(batch.fields[self.name]), self.seed)
        return ((keys >> np.uint64(40)) / 2**24).astype(np.float32)

    def details(self, batch: Batch) -> dict[str, np.ndarray]:
        """`group`: the name."""
        return {"group": np.array(batch.fields[self.name], dtype=object)}
