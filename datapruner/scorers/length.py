"""Length of the text, in characters (Unicode code points) or words (runs between white space).

Higher is longer. The plainest baseline: a score that picks no better than length need not be computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State


@dataclass(frozen=True)
class Length(Scorer):
    """Rule: the number of characters, or of words, of the text."""

    unit: Literal["characters", "words"] = "characters"

    is_cheap: ClassVar[bool] = True
    direction: ClassVar[str] = "higher is longer"
    default_selector: ClassVar[str] = "middle"

    def check(self) -> None:
        if self.unit not in ("characters", "words"):
            raise ValueError(f"length.unit wants characters or words, got {self.unit!r}")

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        counts = [len(text) if self.unit == "characters" else len(text.split()) for text in batch.texts]
        return np.array(counts, dtype=np.float32)
