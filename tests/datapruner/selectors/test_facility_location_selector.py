"""`facility_location`: plain greedy's picks, and weights that say how many rows each stands for."""

from __future__ import annotations

import numpy as np
import pytest

from datapruner.selectors import facility_location
from datapruner.selectors.facility_location import FacilityLocation
from tests.datapruner.selectors.given_rows import drawn_vectors, given_rows


def test_by_hand() -> None:
    # three rows point right, two up, one left
    given = given_rows(vectors=[[1, 0], [2, 0.1], [1, -0.1], [0, 1], [0.1, 1], [-1, 0]])
    outcome = FacilityLocation().select(given, 3)
    assert outcome.weights is not None
    assert sum(row in outcome.kept for row in (0, 1, 2)) == 1
    assert 5 in outcome.kept
    assert outcome.weights[outcome.kept].tolist() == [3, 2, 1]
    assert outcome.reasons == ("stood for in embedding by the 3 rows that are kept",)


def slow_greedy(vectors: np.ndarray, n: int, order: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Every gain in every step, in float64; returns picks and CRAIG's weights. Of equal gains the first in `order`.

    Equal they often are: two rows that are each other's nearest add the same.
    """
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    near = (1 + unit @ unit.T) / 2
    covered, picks = np.zeros(len(unit)), []
    for _ in range(n):
        gains = {j: float(np.maximum(near[:, j] - covered, 0).sum()) for j in order.tolist() if j not in picks}
        top = max(gains.values())
        picks.append(next(j for j, gain in gains.items() if gain >= top - 1e-6 * (1 + top)))
        covered = np.maximum(covered, near[:, picks[-1]])
    weights = np.zeros(len(unit))
    for row in range(len(unit)):
        weights[row if row in picks else picks[int(np.argmax(near[row, picks]))]] += 1
    return picks, weights


@pytest.mark.parametrize("n", [1, 8, 40])
def test_agrees_with_plain_greedy(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # weights are counted in several blocks
    monkeypatch.setattr(facility_location, "BLOCK_PAIRS", 7 * n)
    vectors = drawn_vectors(90, 6)
    given = given_rows(vectors=vectors)
    outcome = FacilityLocation().select(given, n)
    picks, weights = slow_greedy(vectors, n, np.argsort(given.lots(0)))
    assert outcome.kept.tolist() == sorted(picks)
    assert outcome.weights is not None
    assert outcome.weights.tolist() == weights.tolist()
    assert outcome.weights.sum() == 90


def test_equal_rows_are_picked_once_and_stand_for_themselves() -> None:
    outcome = FacilityLocation().select(given_rows(vectors=[[1, 0]] * 4 + [[0, 1]] * 2), 5)
    assert outcome.weights is not None
    assert sorted(outcome.weights.tolist()) == [0, 1, 1, 1, 1, 2]
