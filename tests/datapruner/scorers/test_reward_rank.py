"""Ranks of rewards: by hand, against a slow sort, and the strategy that R^2 chooses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from datapruner import Batch
from datapruner.scorers.reward_rank import STRATEGIES, RewardRank, r_squared, ranks_within, weights

QUESTIONS = ["a", "b", "a", "a", "b", "c", "a"]
REWARDS = [0.1, 5.0, 0.4, 0.2, 4.0, 1.0, 0.3]


def batch_of(questions: list[str], rewards: list[float]) -> Batch:
    numbers = np.array(rewards, np.float32)[:, None]
    uids = [f"u{i}" for i in range(len(rewards))]
    return Batch(np.arange(len(rewards)), uids, [], vectors={"score": numbers}, fields={"question": questions})


def test_by_hand() -> None:
    batch = batch_of(QUESTIONS, REWARDS)
    expected = {"best": [0, 1, 1, 1 / 3, 0, 1, 2 / 3], "best_worst": [1, 1, 1, 1 / 3, 1, 1, 1 / 3]}
    for strategy, scores in expected.items():
        scorer = RewardRank(strategy=strategy)  # type: ignore[arg-type]
        scorer.check()
        state = scorer.fit([batch])
        assert scorer.checked(batch, state).tolist() == pytest.approx(scores)
        assert scorer.details(batch, state)["rank"].tolist() == [3, 0, 0, 2, 1, 0, 1]
        assert scorer.details(batch, state)["answers"].tolist() == [4, 2, 4, 4, 2, 1, 4]
    scorer = RewardRank(strategy="best_random")
    found = scorer.checked(batch, scorer.fit([batch]))
    assert found[[1, 2, 5]].tolist() == [1, 1, 1]
    assert ((found[[0, 3, 4, 6]] < 1) & (found[[0, 3, 4, 6]] >= 0)).all()
    assert RewardRank(strategy="best_random", seed=1).checked(batch, scorer.fit([batch]))[0] != found[0]


def test_ranks_agree_with_a_slow_sort() -> None:
    draws = np.random.default_rng(0)
    questions, rewards = draws.integers(0, 30, 300).astype(np.uint64), draws.integers(0, 6, 300).astype(np.float32)
    keys = draws.integers(0, 2**63, 300).astype(np.uint64)
    ranks, sizes = ranks_within(questions, rewards, keys)
    for question in range(30):
        inside = np.flatnonzero(questions == question).tolist()
        ordered = sorted(inside, key=lambda row: (-rewards[row], keys[row]))
        assert [int(ranks[row]) for row in ordered] == [*range(len(inside))]
        assert {int(sizes[row]) for row in inside} == {len(inside)}


def test_weights_are_those_of_the_paper() -> None:
    ranks, sizes = np.arange(5), np.full(5, 5)
    assert weights("best", ranks, sizes).tolist() == [1, 0, 0, 0, 0]
    assert weights("best_random", ranks, sizes).tolist() == [1 / 2, *[1 / 8] * 4]
    assert weights("best_worst", ranks, sizes).tolist() == [1 / 2, 0, 0, 0, 1 / 2]
    assert [float(weights(name, np.array([0]), np.array([1]))[0]) for name in STRATEGIES] == [1, 1, 1]


def test_r_squared_is_that_of_a_weighted_regression() -> None:
    draws = np.random.default_rng(1)
    x, weight = draws.normal(size=40), draws.random(40)
    y = 2 * x + draws.normal(size=40)
    slope, intercept = np.polyfit(x, y, 1, w=np.sqrt(weight))
    residual = (weight * (y - slope * x - intercept) ** 2).sum()
    total = (weight * (y - (weight @ y) / weight.sum()) ** 2).sum()
    assert r_squared(x, y, weight) == pytest.approx(1 - residual / total)
    assert r_squared(np.ones(4), np.arange(4.0), np.ones(4)) == 0


def verified(path: Path, trusted: str) -> str:
    """Answers whose rewards say the truth at the ends only, or at the top only."""
    draws, rows = np.random.default_rng(0), []
    for question in range(40):
        for reward in range(6):
            if reward == 5 or (reward == 0 and trusted == "ends"):
                actual = reward / 5 + (question % 5) / 50
            else:
                actual = float(draws.random())
            value = reward + (question % 5) / 10
            rows.append({"question": f"q{question}", "score": value, "actual": actual})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.mark.parametrize(("trusted", "best"), [("ends", "best_worst"), ("top", "best")])
def test_the_strategy_is_chosen_on_verified_answers(trusted: str, best: str, tmp_path: Path) -> None:
    scorer = RewardRank(strategy="auto", verified=verified(tmp_path / "v.jsonl", trusted))
    scorer.check()
    batch = batch_of(QUESTIONS, REWARDS)
    state = scorer.fit([batch])
    assert STRATEGIES[state["r_squared"].argmax()] == best
    assert state["r_squared"].max() > 0.9
    named = RewardRank(strategy=best)  # type: ignore[arg-type]
    assert scorer.checked(batch, state).tolist() == named.checked(batch, named.fit([batch])).tolist()


def test_refuses_what_does_not_go_together(tmp_path: Path) -> None:
    path = verified(tmp_path / "v.jsonl", "top")
    for scorer, message in (
        (RewardRank(strategy="auto"), "a verified corpus for the strategy auto"),
        (RewardRank(verified=path), "a verified corpus for the strategy auto, and for no other"),
        (RewardRank(strategy="worst"), "got 'worst'"),  # type: ignore[arg-type]
        (RewardRank(strategy="auto", verified=path, actual="truth"), "reward_rank.verified: .*truth"),
    ):
        with pytest.raises(ValueError, match=message):
            scorer.check()
