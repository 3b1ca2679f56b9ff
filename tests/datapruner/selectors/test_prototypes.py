"""`prototypes`: hard or easy rows by regime, half of them in even class quotas."""

from __future__ import annotations

import numpy as np
import pytest

from datapruner.selectors.prototypes import Prototypes
from tests.datapruner.selectors.given_rows import given_rows


def classed(scores: list[float], classes: list[int]) -> dict[str, dict[str, list[float]]]:
    return {"prototypicality": {"cluster": [float(c) for c in classes], "score": scores}}


SCORES = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
# the second class has all the easy rows
CLASSES = [0] * 7 + [1] * 3


def test_by_hand() -> None:
    given = given_rows(SCORES, fields=classed(SCORES, CLASSES))
    # of 4 rows one a class is sure, the rest are the two hardest that are left
    hard = Prototypes(end="hard").select(given, 4)
    assert hard.kept.tolist() == [0, 1, 2, 7]
    assert hard.reasons == ("neither in the quota of its class nor among the hardest of the rest by score",)
    easy = Prototypes(end="easy").select(given, 4)
    assert easy.kept.tolist() == [6, 7, 8, 9]
    assert Prototypes(end="easy", balance=0).select(given, 4).kept.tolist() == [6, 7, 8, 9]
    assert Prototypes(end="hard", balance=0).select(given, 4).kept.tolist() == [0, 1, 2, 3]
    assert Prototypes(end="hard", balance=1).select(given, 4).kept.tolist() == [0, 1, 7, 8]


def test_the_regime_says_which_end() -> None:
    scores = [float(i) for i in range(100)]
    given = given_rows(scores, fields=classed(scores, [0] * 100))
    assert Prototypes().select(given, 19).kept.tolist() == [*range(19)]
    assert Prototypes().select(given, 20).kept.tolist() == [*range(80, 100)]
    assert Prototypes(scarce=0.5).select(given, 49).kept.tolist() == [*range(49)]


@pytest.mark.parametrize("end", ["hard", "easy"])
@pytest.mark.parametrize("n", [1, 5, 33, 90, 119])
def test_agrees_with_the_rule_row_by_row(end: str, n: int) -> None:
    draw = np.random.default_rng(n)
    scores = draw.permutation(120).astype(float).tolist()
    # one class is rare, so that its quota is more than it has
    classes = draw.choice(3, 120, p=[0.6, 0.38, 0.02])
    left = sorted(range(120), key=lambda row: scores[row] * (-1 if end == "hard" else 1))
    kept: list[int] = []
    for number in sorted(set(classes.tolist())):
        kept += [row for row in left if classes[row] == number][: int(0.5 * n / len(set(classes.tolist())))]
    kept += [row for row in left if row not in kept][: n - len(kept)]
    rule = Prototypes(end=end, classes="label")  # type: ignore[arg-type]
    given = given_rows(scores, fields={"label": {"score": classes.tolist()}})
    assert rule.select(given, n).kept.tolist() == sorted(kept)


def test_refuses() -> None:
    for wrong in (Prototypes(balance=1.5), Prototypes(scarce=-1), Prototypes(end="up")):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="prototypes wants end"):
            wrong.select(given_rows([1.0]), 1)
