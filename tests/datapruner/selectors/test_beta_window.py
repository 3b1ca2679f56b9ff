"""`beta_window`: DUAL's window over easiness, which moves to easy rows the more is cut."""

from __future__ import annotations

import math

import numpy as np
import pytest

from datapruner.selectors.beta_window import BetaWindow
from datapruner.selectors.gumbel import noise
from tests.datapruner.selectors.given_rows import given_rows


def test_the_window_by_hand() -> None:
    # nothing cut: b = 15 (1 - mu); half cut: 15/16 of that; all but nothing cut: the density rises up to 1
    assert BetaWindow().window(0.4, 0.0) == pytest.approx((7, 9))
    assert BetaWindow().window(0.4, 0.5) == pytest.approx((16 - 9 * 15 / 16, 9 * 15 / 16))
    a, b = BetaWindow().window(0.4, 0.99)
    assert (a, b) == pytest.approx((16 - 9 * (1 - 0.99**4), 9 * (1 - 0.99**4)))
    assert BetaWindow(c=11).window(0.4, 0.5)[1] == pytest.approx(9 * (1 - 0.5**11))


def reference(scores: list[float], mean: list[float], uniform: list[float], n: int) -> list[int]:
    """The published formulas row by row, with the density in full."""
    mu = sum(mean[row] for row in sorted(range(len(scores)), key=lambda row: -scores[row])[:10]) / 10
    b = 15 * (1 - mu) * (1 - (1 - n / len(scores)) ** 4)
    a = 16 - b
    scale = math.gamma(a + b) / (math.gamma(a) * math.gamma(b))
    chance = [scale * m ** (a - 1) * (1 - m) ** (b - 1) * score for m, score in zip(mean, scores, strict=True)]
    # exponential clocks: who rings first is drawn in proportion to the chance
    rings = [-math.log(u) / c for u, c in zip(uniform, chance, strict=True)]
    return sorted(sorted(range(len(scores)), key=rings.__getitem__)[:n])


@pytest.mark.parametrize("n", [1, 20, 100, 199])
def test_agrees_with_the_formulas(n: int) -> None:
    draw = np.random.default_rng(n)
    mean = draw.uniform(0.01, 0.99, 200)
    scores = (mean * (1 - mean) + draw.uniform(0.01, 0.1, 200)).astype(np.float32)
    given = given_rows(scores, fields={"dual": {"mean": mean}})
    uniform = np.exp(-np.exp(-noise(given.lots(0))))
    kept = BetaWindow().select(given, n).kept.tolist()
    assert kept == reference(scores.astype(float).tolist(), mean.tolist(), uniform.tolist(), n)


def test_the_more_is_cut_the_easier_is_what_stays() -> None:
    mean = np.linspace(0, 1, 4001)
    # the score likes rows of 0.3
    given = given_rows(np.exp(-(((mean - 0.3) / 0.2) ** 2)), fields={"dual": {"mean": mean}})
    easiness = [float(mean[BetaWindow().select(given, n).kept].mean()) for n in (2000, 800, 200, 40)]
    assert easiness == sorted(easiness)
    assert easiness[-1] > easiness[0] + 0.15


def test_a_score_of_nothing_comes_last() -> None:
    given = given_rows([0.0, 0.0, 0.1, 0.2], fields={"dual": {"mean": [0.9, 0.9, 0.1, 0.1]}})
    assert BetaWindow().select(given, 2).kept.tolist() == [2, 3]


def test_refuses() -> None:
    with pytest.raises(ValueError, match=r"beta_window wants 'dual/mean' in \[0, 1\], got 0.5 to 2"):
        BetaWindow().select(given_rows([1, 1], fields={"dual": {"mean": [0.5, 2.0]}}), 1)
    with pytest.raises(ValueError, match="beta_window wants concentration and c above 0"):
        BetaWindow(c=0.0).select(given_rows([1.0]), 1)
