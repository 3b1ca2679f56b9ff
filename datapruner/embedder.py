"""The contract of an embedder: a scorer whose column holds a vector a row, float32 [n, d], read by other methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from datapruner.scorer import Scorer


@dataclass(frozen=True)
class Embedder(Scorer):
    """Base of all embedders: `score` gives float32 [n, d]."""

    is_vector: ClassVar[bool] = True
