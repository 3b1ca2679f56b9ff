"""Packed questions have the logits that they have alone, and a run that is stopped goes on to the same bits."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmarks.lvlm import pool
from benchmarks.lvlm.accuracy import blind, whole_answers
from benchmarks.lvlm.learner import Learner, new_learner
from benchmarks.lvlm.packing import Example, Seen, pack
from benchmarks.lvlm.questions import Question
from benchmarks.lvlm.recipe import Recipe
from benchmarks.lvlm.training import level_steps, rate_at, train
from tests.lvlm.conftest import with_training

QUESTIONS = [
    Question("region", "what is in the top left ?", "cat"),
    Question("number", "what number is on the red sign ?", "4 7 2"),
    Question("count", "how many cats are there ?", "2"),
]


def large(recipe: Recipe) -> Learner:
    """A learner whose logits are far from equal."""
    learner = new_learner(recipe).eval()
    with torch.no_grad():
        for weight in learner.parameters():
            weight *= 8 if weight.ndim > 1 else 1
    return learner


@pytest.mark.parametrize("is_compact", [False, True])
@pytest.mark.parametrize("left", [range(16), (1, 2, 7, 13)])
@torch.no_grad()
def test_packed_is_one_by_one(recipe: Recipe, left: range, is_compact: bool) -> None:
    learner, seen = large(recipe), Seen(torch.tensor([*left]), is_compact)
    features, labels = torch.randint(-99, 99, (16, 12)).to(torch.int8), torch.zeros(16, 4, dtype=torch.uint8)
    other = Example(features.flip(0), labels, QUESTIONS[:1])
    together = learner(pack([Example(features, labels, QUESTIONS), other], [seen, seen]))
    alone = [learner(pack([Example(features, labels, [one])], [seen])) for one in QUESTIONS]
    alone.append(learner(pack([other], [seen])))
    assert together.targets.equal(torch.cat([said.targets for said in alone]))
    assert together.logits.std() > 0.3
    torch.testing.assert_close(together.logits, torch.cat([said.logits for said in alone]), rtol=1e-4, atol=1e-4)


def test_positions_of_what_is_left() -> None:
    example = Example(torch.zeros(9, 2, dtype=torch.int8), torch.zeros(9, 4, dtype=torch.uint8), QUESTIONS[:1])
    left = torch.tensor([0, 4, 8])
    kept, compact = (pack([example], [Seen(left, own)]).positions[0].tolist() for own in (False, True))
    assert kept == [0, 1, 5, 9, *range(10, 19)]
    assert compact == [*range(13)]


def same(left: Learner, right: Learner) -> bool:
    pairs = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return all(one.equal(other) for one, other in pairs)


def test_a_stopped_run_goes_on_to_the_same_bits(recipe: Recipe) -> None:
    whole = train(recipe)
    stopped = dataclasses.replace(recipe, run=recipe.run.parent / "stopped")
    for _ in range(4):
        early = train(stopped, minutes=0)
    assert not same(whole, early)
    assert same(whole, train(stopped))


def test_more_steps_go_on_from_the_level_part(recipe: Recipe) -> None:
    straight = train(with_training(dataclasses.replace(recipe, run=recipe.run.parent / "straight"), steps=10))
    train(recipe)
    assert same(straight, train(with_training(recipe, steps=10)))


def test_the_state_of_another_recipe_is_refused(recipe: Recipe) -> None:
    train(recipe, minutes=0)
    with pytest.raises(ValueError, match="this recipe"):
        train(with_training(recipe, learning_rate=0.5))


def test_the_rate_rises_stays_and_falls(recipe: Recipe) -> None:
    settings = with_training(recipe, steps=100, warm_up=10, decay=0.2).training
    rates = [rate_at(settings, step) for step in range(100)]
    assert rates[:2] == [0.1, 0.2]
    assert set(rates[9:81]) == {1.0}
    assert level_steps(settings) == 80
    assert rates[90] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.05)


def test_a_step_leaves_out_patches_of_both_policies(recipe: Recipe) -> None:
    grids = pool.load(recipe, "train")
    batches = [pool.step_batch(grids, with_training(recipe, thinned=1.0), step) for step in range(20)]
    counts = {batch.features.shape[1] for batch in batches}
    assert len(counts) > 5
    assert max(counts) <= 16
    gaps = [(batch.positions[:, 1 : batch.features.shape[1] + 1].diff() != 1).any(1) for batch in batches]
    assert 0.1 < torch.cat(gaps).float().mean() < 0.9
    again = pool.step_batch(grids, with_training(recipe, thinned=1.0), 7)
    assert again.text.equal(batches[7].text)
    assert again.features.equal(batches[7].features)


def test_an_answer_is_right_where_all_its_tokens_are() -> None:
    hits, numbers = torch.tensor([True, True, True, False, True]), torch.tensor([1, 1, 2, 2, 3])
    assert whole_answers(hits, numbers, 3) == [True, False, True]


def test_blind_says_the_most_frequent_answer_to_the_words() -> None:
    asked = [[QUESTIONS[0], QUESTIONS[2]], [dataclasses.replace(QUESTIONS[0], answer="dog")], [QUESTIONS[0]]]
    assert blind(asked) == {QUESTIONS[0].text: "cat", QUESTIONS[2].text: "2"}
