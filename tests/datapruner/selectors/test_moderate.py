"""`moderate`: the middle of the distances to the class's median feature, or of the score's values."""

from __future__ import annotations

import numpy as np
import pytest

from datapruner.selectors.moderate import Moderate
from tests.datapruner.selectors.given_rows import drawn_vectors, given_rows

BY_LABEL = Moderate(classes="label")


def test_by_hand() -> None:
    # class 0 has its median at 2: distances 2 1 0 1 8; class 1 at 100: 3 0 4
    given = given_rows(
        vectors=[[0], [1], [2], [3], [10], [97], [100], [104]], fields={"label": {"score": [0, 0, 0, 0, 0, 1, 1, 1]}}
    )
    # all distances in order: 0 0 1 1 2 3 4 8
    assert BY_LABEL.select(given, 4).kept.tolist() == [0, 1, 3, 5]
    outcome = BY_LABEL.select(given, 2)
    assert 0 in outcome.kept
    assert len(outcome.kept) == 2
    reasons = {row: outcome.reasons[code] for row, code in enumerate(outcome.codes) if code >= 0}
    assert reasons[2] == "nearer to the median embedding of its class than the middle 2 rows"
    assert reasons[4] == "farther from the median embedding of its class than the middle 2 rows"
    assert [text for text in reasons.values() if "drawn by uid" in text] == [
        "as far from the median embedding of its class as the last that is kept: drawn by uid"
    ]


def reference(vectors: np.ndarray, labels: np.ndarray, n: int) -> list[int]:
    """The formula row by row, over a global ranking."""
    distances = []
    for vector, label in zip(vectors.astype(np.float64), labels, strict=True):
        own = vectors[labels == label].astype(np.float64)
        median = [float(np.median(own[:, dim])) for dim in range(own.shape[1])]
        distances.append(sum((a - b) ** 2 for a, b in zip(vector, median, strict=True)) ** 0.5)
    order = sorted(range(len(distances)), key=distances.__getitem__)
    below = (len(order) - n) // 2
    return sorted(order[below : below + n])


@pytest.mark.parametrize("n", [1, 17, 60, 118])
def test_agrees_with_the_formula(n: int) -> None:
    vectors = drawn_vectors(120, 5)
    labels = np.random.default_rng(1).integers(0, 3, 120)
    given = given_rows(vectors=vectors, fields={"label": {"score": labels}})
    assert BY_LABEL.select(given, n).kept.tolist() == reference(vectors, labels, n)


def test_the_ranking_is_global_not_of_each_class() -> None:
    # one class is tight, one is wide: the middle of all distances is the far half of the one, the near of the other
    vectors = [[x] for x in (-0.2, -0.1, 0, 0.1, 0.2)] + [[100 + x] for x in (-50, -20, 0, 20, 50)]
    given = given_rows(vectors=vectors, fields={"label": {"score": [0] * 5 + [1] * 5}})
    assert BY_LABEL.select(given, 4).kept.tolist() in ([0, 4, 6, 8], [0, 1, 4, 6], [0, 3, 4, 6], [0, 1, 3, 4])
    assert BY_LABEL.select(given, 6).kept.tolist() == [0, 1, 3, 4, 6, 8]


def test_the_score_reading_goes_by_value() -> None:
    scores = [0, 9, 10, 11, 50, 60, 70]
    given = given_rows(scores)
    rule = Moderate(reading="score")
    # the median is 11: 10 and 9 are nearer to it than 50, which stands in the middle rank
    assert rule.select(given, 3).kept.tolist() == [1, 2, 3]
    assert rule.select(given, 3).reasons == ("score farther from its median than the kept",)


def test_refuses() -> None:
    with pytest.raises(ValueError, match="moderate wants the reading features or score, got 'both'"):
        Moderate(reading="both").select(given_rows([1.0]), 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="row 1 of vectors of 'embedding' has NaN or infinity"):
        Moderate().select(given_rows(vectors=[[0], [np.nan], [1]]), 1)
    with pytest.raises(ValueError, match="NaN in row 1 of 'score'"):
        Moderate(reading="score").select(given_rows([1.0, np.nan]), 1)
    fields = {"label": {"score": [0.0, np.inf]}}
    with pytest.raises(ValueError, match="want numbers in 'label', got inf in row 1"):
        BY_LABEL.select(given_rows(vectors=[[0], [1]], fields=fields), 1)
