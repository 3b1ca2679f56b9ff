"""`message_passing`: scores that neighbours raise, and picks that lower their neighbours'."""

from __future__ import annotations

import math

import numpy as np
import pytest

from datapruner.selectors import message_passing
from datapruner.selectors.message_passing import MessagePassing
from tests.datapruner.selectors.given_rows import drawn_vectors, given_rows


def test_by_hand() -> None:
    # two neighbours 0 and 1, a far pair 2 and 3; one neighbour each, e^-d of 0.1 within a pair
    apart = math.log(10)
    given = given_rows([10, 9, 8, 1], [[0], [apart], [100], [100 + apart]])
    rule = MessagePassing(neighbours=1, gamma=1.0)
    # forward: 10.9, 10, 8.1, 1.8; the pick of 0 takes 1.09 from 1, which stays ahead of 2
    assert [rule.select(given, n).kept.tolist() for n in (1, 2, 3)] == [[0], [0, 1], [0, 1, 2]]
    # without decay the pick takes all of its own from its neighbour: -0.9
    assert MessagePassing(neighbours=1, gamma=0.0).select(given, 2).kept.tolist() == [0, 2]
    # nobody sends anything from afar: 10, 9, 8, 1, and the pick takes nothing
    alone = MessagePassing(neighbours=1, gamma=100.0, forward=100.0).select(given, 3)
    assert alone.kept.tolist() == [0, 1, 2]
    assert alone.reasons == ("score, with its neighbours' and less what kept neighbours took, below the kept",)


def slow_d2(vectors: np.ndarray, scores: np.ndarray, rule: MessagePassing, n: int) -> list[int]:
    """Both passes with all distances and an argmax in each step."""
    if rule.metric == "cosine":
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        distance = 1 - unit @ unit.T
    else:
        distance = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1, kind="stable")[:, : rule.neighbours]
    now = np.array(
        [
            scores[i] + sum(math.exp(-rule.forward * distance[i, j]) * scores[j] for j in near[i])
            for i in range(len(scores))
        ]
    )
    picks: list[int] = []
    for _ in range(n):
        pick = max((row for row in range(len(scores)) if row not in picks), key=lambda row: now[row])
        picks.append(pick)
        for j in near[pick]:
            now[j] -= math.exp(-rule.gamma * distance[pick, j]) * now[pick]
    return picks


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("n", [1, 20, 69])
def test_agrees_with_both_passes_by_argmax(metric: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # blocks of seven rows, so that a row's own place moves
    monkeypatch.setattr(message_passing, "BLOCK_PAIRS", 7 * 70)
    vectors = drawn_vectors(70, 4)
    # scores of both signs: a pick of less than 0 raises its neighbours
    scores = np.random.default_rng(2).normal(0.5, 1, 70).astype(np.float32)
    rule = MessagePassing(neighbours=5, gamma=0.3, metric=metric)  # type: ignore[arg-type]
    kept = rule.select(given_rows(scores, vectors), n).kept.tolist()
    assert kept == sorted(slow_d2(vectors.astype(np.float64), scores.astype(np.float64), rule, n))


def test_an_equal_row_is_a_neighbour_and_no_row_is_its_own() -> None:
    # 0 and 1 are one place; were each its own nearest, 1 would lose nothing
    given = given_rows([5, 4.9, 1], [[0], [0], [50]])
    assert MessagePassing(neighbours=1, gamma=0.1).select(given, 2).kept.tolist() == [0, 2]


def test_refuses() -> None:
    for wrong in (MessagePassing(neighbours=0), MessagePassing(gamma=-1.0), MessagePassing(metric="dot")):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="message_passing wants metric"):
            wrong.select(given_rows([1.0], [[1.0]]), 1)
