"""Vectors that are there already, in an array beside the corpus, joined to its rows.

    .npy   float [n, d]: row i of the corpus has row i of the array
    .npz   `vectors` float [n, d] and `uids` strings [n]: a row has the vector of its uid, wherever it stands

The file is opened as a map of memory where it is a .npy, never unpickled, and known by its content. Vectors come out
with length 1, as those of every embedder; with normalize=false, as for logits, as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from datapruner.corpus.fingerprint import digest
from datapruner.scoring.scorer import COSMETIC, NOTHING, Batch, Embedder, State
from prunekernels._unit import unit_rows


@dataclass(frozen=True)
class Array(Embedder):
    """Rule: the row's vector in the file `path`, by its number (.npy) or its uid (.npz)."""

    path: str = field(default="", metadata=COSMETIC)
    normalize: bool = True

    needs: ClassVar[tuple[str, ...]] = ()
    direction: ClassVar[str] = "what the vectors of the file are"
    cost: ClassVar[str] = "a look-up"

    def check(self) -> None:
        if not self.path.endswith((".npy", ".npz")) or not Path(self.path).is_file():
            raise ValueError(f"array.path wants a file that ends in .npy or .npz, got {self.path!r}")
        vectors, places = self._opened
        if vectors.ndim != 2 or vectors.dtype.kind != "f":
            raise ValueError(
                f"{self.path}: want vectors as floating point [n, d], got {vectors.dtype} {[*vectors.shape]}"
            )
        if places is not None and len(places) != len(vectors):
            raise ValueError(f"{self.path}: want {len(vectors)} uids, all different, got {len(places)}")

    def identity(self) -> dict[str, str]:
        return {"array": digest(Path(self.path))}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        vectors, places = self._opened
        rows = batch.rows if places is None else np.array([places.get(uid, -1) for uid in batch.uids], np.int64)
        missing = np.flatnonzero((rows < 0) | (rows >= len(vectors)))
        if len(missing):
            row = int(missing[0])
            raise ValueError(
                f"{self.path}: want a vector for row {int(batch.rows[row]) + 1}, uid {batch.uids[row]!r}, got none "
                f"among {len(vectors)}"
            )
        found = np.array(vectors[rows], dtype=np.float32)
        return unit_rows(torch.from_numpy(found)).numpy() if self.normalize and len(found) else found

    @cached_property
    def _opened(self) -> tuple[np.ndarray, dict[str, int] | None]:
        """The vectors, and the place of each uid where there are uids."""
        try:
            if self.path.endswith(".npy"):
                return np.load(self.path, mmap_mode="r", allow_pickle=False), None
            with np.load(self.path, allow_pickle=False) as file:
                names = {str(uid): place for place, uid in enumerate(file["uids"])}
                return file["vectors"], names
        except (ValueError, OSError, KeyError, EOFError) as error:
            wanted = "an array" if self.path.endswith(".npy") else "the arrays 'vectors' and 'uids'"
            raise ValueError(f"{self.path}: want {wanted} that numpy can read without pickle: {error}") from error
