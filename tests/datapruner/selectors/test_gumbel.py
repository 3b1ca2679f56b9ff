"""`gumbel`: chances follow the score, draws hang on uid and seed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from datapruner.corpus.uids import splitmix64
from datapruner.selectors.gumbel import Gumbel, noise
from tests.datapruner.selectors.given_rows import given_rows

WEIGHTS = [1.0, 2.0, 3.0, 4.0]


def test_keys_by_hand() -> None:
    lots = np.array([7, 2**63, 5], dtype=np.uint64)
    expected = [-math.log(-math.log(((int(lot) >> 11) + 0.5) / 2**53)) for lot in splitmix64(lots, 1)]
    assert noise(lots).tolist() == pytest.approx(expected, rel=1e-12)
    given = given_rows([0.0, 1.0, -2.0])
    keys = given.scores + noise(given.lots(0))
    assert Gumbel().select(given, 2).kept.tolist() == sorted(np.argsort(keys)[-2:].tolist())
    assert Gumbel().select(given, 2).reasons == ("not drawn by score with seed 0",)


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_draws_one_after_another_in_proportion(scale: str) -> None:
    scores = np.log(WEIGHTS) if scale == "log" else WEIGHTS
    given = given_rows([float(score) for score in scores])
    # of the ordered pairs of a draw without replacement
    chance = {pair: 0.0 for pair in itertools.combinations(range(4), 2)}
    for one, two in itertools.permutations(range(4), 2):
        chance[min(one, two), max(one, two)] += WEIGHTS[one] / 10 * WEIGHTS[two] / (10 - WEIGHTS[one])
    draws = [tuple(Gumbel(seed=s, scale=scale).select(given, 2).kept.tolist()) for s in range(1500)]  # type: ignore[arg-type]
    for pair, wanted in chance.items():
        # four deviations of a share of 1,500 draws
        assert draws.count(pair) / 1500 == pytest.approx(wanted, abs=4 * (wanted * (1 - wanted) / 1500) ** 0.5)


def test_a_cold_draw_is_the_top_and_a_hot_one_is_even() -> None:
    given = given_rows([float(i) for i in range(50)])
    assert Gumbel(temperature=1e-3).select(given, 10).kept.tolist() == [*range(40, 50)]
    hot = np.mean([np.mean(Gumbel(seed=s, temperature=1e6).select(given, 10).kept) for s in range(60)])
    assert hot == pytest.approx(24.5, abs=2)


def test_no_weight_is_drawn_last() -> None:
    given = given_rows([0.0, 0.0, 1e-30, 1.0])
    assert Gumbel(scale="linear").select(given, 2).kept.tolist() == [2, 3]


def test_refuses() -> None:
    with pytest.raises(ValueError, match="gumbel:scale=linear wants scores of at least 0, got -1"):
        Gumbel(scale="linear").select(given_rows([-1.0, 2.0]), 1)
    for wrong in (Gumbel(temperature=0.0), Gumbel(scale="sqrt")):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="gumbel wants scale"):
            wrong.select(given_rows([1.0]), 1)
