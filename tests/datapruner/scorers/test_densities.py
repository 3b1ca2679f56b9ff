"""density, knn_density and facility_location: by hand, and against the formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest

from datapruner import Batch, Scorer
from datapruner.scorers.density import Density
from datapruner.scorers.facility_location import FacilityLocation
from datapruner.scorers.knn_density import KnnDensity


def batch_of(vectors: np.ndarray) -> Batch:
    uids = [f"u{i}" for i in range(len(vectors))]
    return Batch(np.arange(len(vectors)), uids, [], vectors={"embedding": vectors.astype(np.float32)})


def scores(vectors: np.ndarray, scorer: Scorer) -> np.ndarray:
    batch = batch_of(vectors)
    scorer.check()
    return scorer.checked(batch, scorer.fit([batch]))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


ROWS = np.random.default_rng(0).normal(size=(40, 6))
# each row twice: the nearest of a row is its copy, and which of the two stands first is by chance
TWICE = np.concatenate([ROWS, ROWS])


def test_by_hand() -> None:
    rows = np.array([[1, 0], [1, 0], [0, 2], [0, -1]])
    np.testing.assert_allclose(scores(rows, KnnDensity(k=1)), [1, 1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(scores(rows, KnnDensity(k=9)), [1 / 3, 1 / 3, -1 / 3, -1 / 3], atol=1e-6)
    near, far = np.exp(-1 / 0.25), np.exp(-2 / 0.25)
    expected = [(1 + 2 * near) / 3] * 2 + [(2 * near + far) / 3] * 2
    np.testing.assert_allclose(scores(rows, Density(bandwidth=0.5)), expected, rtol=1e-5)
    # the first of the two copies stands for both: 2 + two halves, over 4; then each of the others adds a half
    found = scores(rows, FacilityLocation())
    np.testing.assert_allclose(sorted(found), [0, 0.125, 0.125, 0.75], atol=1e-6)


@pytest.mark.parametrize("rows", [ROWS, TWICE], ids=["distinct", "copies"])
def test_against_the_formulas(rows: np.ndarray) -> None:
    cosines = unit(rows) @ unit(rows).T
    others = ~np.eye(len(rows), dtype=bool)
    nearest = [np.sort(own[other])[::-1][:5].mean() for own, other in zip(cosines, others, strict=True)]
    np.testing.assert_allclose(scores(rows, KnnDensity(k=5)), nearest, atol=1e-5)
    squared = ((unit(rows)[:, None] - unit(rows)[None]) ** 2).sum(-1)
    kernel = np.where(others, np.exp(-squared / (2 * 0.3**2)), 0).sum(1) / (len(rows) - 1)
    np.testing.assert_allclose(scores(rows, Density()), kernel, rtol=1e-4)


def test_gains_are_those_of_plain_greedy() -> None:
    cosines = (1 + unit(ROWS) @ unit(ROWS).T) / 2
    covered, expected = np.zeros(len(ROWS)), np.zeros(len(ROWS))
    left = set(range(len(ROWS)))
    for _ in range(10):
        gains = {row: np.maximum(cosines[row] - covered, 0).sum() for row in left}
        best = max(gains, key=lambda row: gains[row])
        expected[best], covered = gains[best] / len(ROWS), np.maximum(covered, cosines[best])
        left.remove(best)
    np.testing.assert_allclose(scores(ROWS, FacilityLocation(picks=10)), expected, atol=1e-6)


def test_beyond_so_many_rows_some_are_drawn() -> None:
    rows = np.random.default_rng(1).normal(size=(600, 4)) + [1, 0, 0, 0]
    # in single batches, so that rows are drawn on the way
    batches = [
        Batch(np.arange(i, i + 50), [f"u{j}" for j in range(i, i + 50)], [], vectors={"embedding": rows[i : i + 50]})
        for i in range(0, 600, 50)
    ]
    whole = scores(rows, Density(bandwidth=1))
    for scorer in (Density(bandwidth=1, rows=200), KnnDensity(rows=200), FacilityLocation(picks=20, rows=200)):
        state = scorer.fit(batches)
        assert len(state["keys"]) == (20 if isinstance(scorer, FacilityLocation) else 200)
        assert (scorer.fit(batches[::-1])["keys"] == state["keys"]).all()
        found = np.concatenate([scorer.checked(batch, state) for batch in batches])
        if isinstance(scorer, Density):
            assert np.corrcoef(found, whole)[0, 1] > 0.9


def test_refuses_fields_that_cannot_work() -> None:
    for wrong in (
        Density(bandwidth=0),
        Density(rows=1),
        KnnDensity(k=0),
        KnnDensity(rows=5),
        FacilityLocation(picks=0),
    ):
        with pytest.raises(ValueError, match="wants"):
            wrong.check()
    for scorer in (Density(), KnnDensity(), FacilityLocation()):
        with pytest.raises(ValueError, match="fit"):
            scorer.score(batch_of(ROWS))
