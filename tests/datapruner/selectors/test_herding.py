"""`herding`: the running mean of the picks stays as near to the mean of all as one row can bring it."""

from __future__ import annotations

import numpy as np
import pytest

from datapruner.selectors.herding import Herding
from tests.datapruner.selectors.given_rows import drawn_vectors, given_rows


def test_by_hand() -> None:
    # the mean is 2; 3 is nearest to it, then (3 + 1) / 2 is 2 exactly, then 0 gives 4/3 and 6 gives 10/3
    given = given_rows(vectors=[[0], [1], [3], [6], [0]])
    assert [Herding().select(given, n).kept.tolist() for n in (1, 2)] in ([[1], [1, 2]], [[2], [1, 2]])
    assert Herding().select(given, 3).kept.tolist() in ([0, 1, 2], [1, 2, 4])
    assert Herding().select(given, 3).reasons == (
        "leads the mean of the 3 kept farther from the mean embedding than they do",
    )


def slow_herding(vectors: np.ndarray, n: int) -> list[int]:
    """The published formula: in each step the mean with every row that is left, and its distance."""
    mean, picks = vectors.mean(0), []
    for _ in range(n):
        left = [row for row in range(len(vectors)) if row not in picks]
        distances = [float(np.linalg.norm(mean - vectors[[*picks, row]].mean(0))) for row in left]
        picks.append(left[int(np.argmin(distances))])
    return picks


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("n", [1, 2, 30, 79])
def test_agrees_with_the_formula(metric: str, n: int) -> None:
    # far from the origin, where differences of sums would lose digits
    vectors = drawn_vectors(80, 6, seed=n) + 100
    wide = vectors.astype(np.float64)
    if metric == "cosine":
        vectors, wide = vectors - 100, wide - 100
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    kept = Herding(metric=metric).select(given_rows(vectors=vectors), n).kept  # type: ignore[arg-type]
    assert kept.tolist() == sorted(slow_herding(wide, n))


def test_refuses() -> None:
    with pytest.raises(ValueError, match="herding wants the metric"):
        Herding(metric="dot").select(given_rows(vectors=[[1.0]]), 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="vectors of 'embedding'"):
        Herding().select(given_rows(vectors=[[1.0], [np.inf]]), 1)
