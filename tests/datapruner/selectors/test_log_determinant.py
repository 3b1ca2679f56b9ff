"""`log_determinant`: each pick adds the most volume, not the least."""

from __future__ import annotations

import numpy as np
import pytest

from datapruner.selectors.log_determinant import LogDeterminant
from tests.datapruner.selectors.given_rows import drawn_vectors, given_rows


def test_by_hand() -> None:
    # two rows are nearly one; the third stands across
    given = given_rows(vectors=[[1, 0], [1, 0.01], [0, 1]])
    assert 2 in LogDeterminant().select(given, 2).kept
    assert LogDeterminant().select(given, 2).reasons == ("adds less volume in embedding than the 2 rows that are kept",)
    # a row that is a hundred times as good as the one across outweighs it, from the first pick on
    liked = given_rows(vectors=[[1, 0], [1, 0.5], [0, 1]], fields={"quality": {"score": [100, 90, 0.1]}})
    assert LogDeterminant(quality="quality").select(liked, 1).kept.tolist() == [0]
    assert LogDeterminant(quality="quality").select(liked, 2).kept.tolist() == [0, 1]


def slow_map(vectors: np.ndarray, quality: np.ndarray, n: int) -> list[int]:
    """The determinant of every set that is one row larger."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * quality[:, None]
    kernel = unit @ unit.T
    picks: list[int] = []
    for _ in range(n):
        left = [row for row in range(len(unit)) if row not in picks]
        values = [np.linalg.slogdet(kernel[np.ix_([*picks, row], [*picks, row])])[1] for row in left]
        picks.append(left[int(np.argmax(values))])
    return picks


@pytest.mark.parametrize("n", [1, 3, 9])
def test_agrees_with_determinants(n: int) -> None:
    vectors, quality = drawn_vectors(60, 12), np.random.default_rng(0).uniform(0.5, 2, 60)
    given = given_rows(vectors=vectors, fields={"quality": {"score": quality.astype(np.float32)}})
    kept = LogDeterminant(quality="quality").select(given, n).kept.tolist()
    assert kept == sorted(slow_map(vectors.astype(np.float64), quality, n))


def test_refuses_a_quality_below_nothing() -> None:
    given = given_rows(vectors=[[1, 0], [0, 1]], fields={"quality": {"score": [-1.0, -1.0]}})
    with pytest.raises(ValueError, match="want a quality of at least 0"):
        LogDeterminant(quality="quality").select(given, 1)
