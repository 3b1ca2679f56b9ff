"""The weights of the packaged pruner's mixture are found again where they are known."""

from __future__ import annotations

import numpy as np

from benchmarks.pruner.mixture import Judged, answer_row, fitted, recall
from tests.contextpruner.training.toy_questions import Toy


def drawn(n: int, weights: list[float], seed: int, answered: float = 1.0) -> list[Judged]:
    """Questions whose units are gold by `weights`; of a share `answered`, told by scores, some are."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(n):
        inputs = np.concatenate([draw.normal(0, 2, (8, 3)), np.ones((8, 1))], 1)
        has_answer = draw.random() < answered
        gold = draw.random(8) < has_answer / (1 + np.exp(-inputs @ np.array(weights)))
        score = draw.normal(2.0 if gold.any() else -2.0, 1.0)
        question = Toy([0.0] * 8, gold.tolist(), id=str(number)).judged().question
        made.append(Judged(question, inputs, np.array([score, 1.0])))
    return made


def test_known_weights_are_found_and_sources_count_the_same() -> None:
    weights = [1.2, 0.6, 0.25, -0.5]
    np.testing.assert_allclose(fitted([drawn(1500, weights, 0)]), weights, atol=0.1)
    without = fitted([drawn(1500, weights, 0)], distance=False)
    assert without[1] == 0
    # however many questions one of two sources has
    other, last = [1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]
    even = fitted([drawn(1500, other, 1), drawn(1500, last, 2)])
    uneven = fitted([drawn(1500, other, 1), drawn(200, last, 2)])
    np.testing.assert_allclose(uneven, even, atol=0.15)
    assert 0.3 < even[2] < 0.6


def test_the_mixture_that_made_the_labels_orders_them_best() -> None:
    own = drawn(400, [3.0, 1.0, 2.0, -4.0], 3)
    weights = ([3.0, 1.0, 2.0, -4.0], [1.0, 0, 0, 0], [0, 0, 1.0, 0])
    best, model, words = (recall(own, np.array(one)) for one in weights)
    assert best > model > words


def test_scores_that_tell_what_is_answered_leave_the_others_empty() -> None:
    sets = [drawn(400, [1.0, 0.0, 0.0, 0.0], seed, answered=0.5) for seed in (4, 5)]
    found = answer_row("all", sets, sets, np.array([1.0, 0.0, 0.0, 0.0]))
    # two normal distributions of deviation 1 around 2 and -2 have a logit of 4 x
    assert abs(found.score_weight - 4) < 1
    assert abs(found.constant) < 0.7
    assert found.unanswered == sum(not one.has_gold for own in sets for one in own)
    assert found.left_empty_without < 0.1 < 0.8 < found.left_empty_with
