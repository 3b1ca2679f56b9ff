"""Size of an image, as image sets are filtered by (Gadre et al. 2023, DataComp, arXiv:2304.14108), and broken files.

    shorter   the shorter side in pixels         pixels   width x height         aspect   longer side / shorter side

Higher is larger, or more elongated. A file that cannot be decoded to its last pixel has 0, less than any image:
threshold:minimum=1 drops those and no others. DataComp's basic filter keeps a shorter side of at least 200 and an
aspect of at most 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from datapruner.corpus.pictures import pictures
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State


@dataclass(frozen=True)
class ImageSize(Scorer):
    """Rule: the shorter side, pixels or aspect of the decoded image; 0 where it is broken."""

    of: Literal["shorter", "pixels", "aspect"] = "shorter"

    needs: ClassVar[tuple[str, ...]] = ("images",)
    direction: ClassVar[str] = "higher is larger, or more elongated; 0 is a broken file"
    cost: ClassVar[str] = "one decoding a picture"
    default_selector: ClassVar[str] = "threshold:minimum=1"

    def check(self) -> None:
        if self.of not in ("shorter", "pixels", "aspect"):
            raise ValueError(f"image_size.of wants shorter, pixels or aspect, got {self.of!r}")

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        sizes = [(0, 0) if picture is None else picture.size for picture in pictures(batch.images or ())]
        low, high = np.array([sorted(size) for size in sizes], dtype=np.float64).reshape(-1, 2).T
        found = {"shorter": low, "pixels": low * high, "aspect": high / low.clip(min=1)}[self.of]
        return found.astype(np.float32)
