"""What selectors read of the table beside the score, named as "column" or "column/field"."""

from __future__ import annotations

import numpy as np
import torch

from datapruner.selection.candidates import Candidates
from prunekernels._unit import check_rows, unit_rows


def numbers(candidates: Candidates, name: str) -> np.ndarray:
    """The scores of a column, or the field of it that is named behind a slash; [n], finite."""
    column, _, field = name.partition("/")
    values = candidates.field(column, field or "score")
    if not np.isfinite(values).all():
        place = int((~np.isfinite(values)).argmax())
        row = place if candidates.at is None else int(candidates.at[place])
        raise ValueError(f"want numbers in {name!r}, got {values[place]} in row {row}")
    return values


def class_ids(candidates: Candidates, name: str) -> tuple[np.ndarray, int]:
    """Each row's class as a number under the count of classes, int64 [n], and that count; no name is one class."""
    if not name:
        return np.zeros(len(candidates), dtype=np.int64), 1
    classes, ids = np.unique(numbers(candidates, name), return_inverse=True)
    return ids.astype(np.int64), len(classes)


def drawn_order(candidates: Candidates, seed: int) -> np.ndarray:
    """The candidates' places by lot, int64 [n]: sums and ties in it do not hang on the order of the rows."""
    return np.argsort(candidates.lots(seed), kind="stable")


def points(candidates: Candidates, column: str, order: np.ndarray, is_unit: bool = False) -> torch.Tensor:
    """The vectors of `column` in `order`, float32 [n, d]; of length 1 where `is_unit`. Raises for NaN or infinity."""
    vectors = torch.from_numpy(np.ascontiguousarray(candidates.vectors(column), dtype=np.float32))
    check_rows(f"vectors of {column!r}", vectors)
    placed = vectors[torch.from_numpy(order)]
    return unit_rows(placed) if is_unit else placed
