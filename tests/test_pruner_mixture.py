"""The weights of the packaged pruner's mixture are found again where they are known."""

from __future__ import annotations

import numpy as np

from benchmarks.pruner.mixture import Judged, fitted, recall
from tests.contextpruner.training.toy_questions import Toy


def drawn(n: int, weights: list[float], seed: int) -> list[Judged]:
    draw = np.random.default_rng(seed)
    made = []
    for number in range(n):
        inputs = np.concatenate([draw.normal(0, 2, (8, 2)), np.ones((8, 1))], 1)
        gold = draw.random(8) < 1 / (1 + np.exp(-inputs @ np.array(weights)))
        made.append(Judged(Toy([0.0] * 8, gold.tolist(), id=str(number)).judged().question, inputs))
    return made


def test_known_weights_are_found_and_sources_count_the_same() -> None:
    weights = [1.2, 0.25, -0.5]
    np.testing.assert_allclose(fitted([drawn(1500, weights, 0)]), weights, atol=0.1)
    # however many questions one of two sources has
    even = fitted([drawn(1500, [1.0, 0.0, 0.0], 1), drawn(1500, [1.0, 1.0, 0.0], 2)])
    uneven = fitted([drawn(1500, [1.0, 0.0, 0.0], 1), drawn(200, [1.0, 1.0, 0.0], 2)])
    np.testing.assert_allclose(uneven, even, atol=0.15)
    assert 0.3 < even[1] < 0.6


def test_the_mixture_that_made_the_labels_orders_them_best() -> None:
    own = drawn(400, [3.0, 2.0, -4.0], 3)
    best, model, words = (recall(own, np.array(one)) for one in ([3.0, 2.0, -4.0], [1.0, 0, 0], [0, 1.0, 0]))
    assert best > model > words
