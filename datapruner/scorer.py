"""The contract of a scorer: one float32 a row, finite, independent of batching and of the order of the rows.

A scorer is a frozen dataclass in `scorers/<name>.py` with a default for every field. It writes `score`; where it
must see the whole corpus first, also `fit`. What else it has to say of a row goes into `details`, more columns
of the same part. A field that cannot change a score (a batch size, the place of a model whose hash `identity`
gives) says so with `metadata=COSMETIC`; any other field makes another column.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

COSMETIC = {"affects_scores": False}
Value = str | int | float | bool | None


@dataclass(frozen=True)
class Batch:
    """Some rows of the corpus: their row numbers int64 [n], uids, texts and groups."""

    rows: np.ndarray
    uids: Sequence[str]
    texts: Sequence[str]
    groups: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.uids)


@dataclass(frozen=True)
class Scorer:
    """Base of all scorers."""

    # raise it whenever the same fields would give other scores than before
    version: ClassVar[int] = 1
    # one line: what a higher score means
    direction: ClassVar[str] = ""

    def score(self, batch: Batch) -> np.ndarray | torch.Tensor:
        """The scores of `batch`, float32 [n]."""
        raise NotImplementedError

    def fit(self, corpus: Iterable[Batch]) -> None:
        """See the whole corpus before the first `score`; `corpus` may be gone through more than once."""

    def details(self, batch: Batch) -> dict[str, np.ndarray]:
        """More columns, each [n]; asked for after `score` of the same batch."""
        return {}

    def identity(self) -> dict[str, str]:
        """What decides the scores beside fields and version: hashes of models, versions of algorithms."""
        return {}

    def check(self) -> None:
        """Raise where the fields cannot work, before anything is read or written."""

    def scoring_fields(self) -> dict[str, Value]:
        """The fields that can change a score."""
        used = [field for field in dataclasses.fields(self) if field.init]
        return {f.name: getattr(self, f.name) for f in used if f.metadata.get("affects_scores", True)}

    def checked(self, batch: Batch) -> np.ndarray:
        """`score`, refused unless it is float32, finite and one per row."""
        scores = self.score(batch)
        array = scores.detach().cpu().numpy() if isinstance(scores, torch.Tensor) else np.asarray(scores)
        name = type(self).__name__
        if array.dtype != np.float32 or array.shape != (len(batch),):
            raise ValueError(f"{name} wants float32 [{len(batch)}], got {array.dtype} {[*array.shape]}")
        if not np.isfinite(array).all():
            wrong = int(np.flatnonzero(~np.isfinite(array))[0])
            raise ValueError(f"{name} wants finite scores, got {array[wrong]} for uid {batch.uids[wrong]!r}")
        return array
