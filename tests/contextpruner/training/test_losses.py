"""Each loss against the formula as printed, in float64 and plain loops."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from contextpruner.training.packed.batches import TrainingBatch
from contextpruner.training.recipe import TrainingSettings
from contextpruner.training.trainer.loop import learning_rate
from contextpruner.training.trainer.losses import losses, total

SETTINGS = TrainingSettings(tokens=1000, distillation_loss=0.5)
# three rows, the last without gold; the first has a token of the question in front and padding behind
UNITS = [[-1, 0, 0, 1, -1], [2, 3, 3, 4, 4], [5, 5, 6, -1, -1]]
GOLD = [1, 0, 0, 1, 1, 0, 0]


def batch() -> TrainingBatch:
    unit = torch.tensor(UNITS)
    mask = torch.ones_like(unit)
    row = torch.tensor([0, 0, 1, 1, 1, 2, 2])
    return TrainingBatch(
        unit,
        mask,
        mask,
        unit,
        row,
        torch.tensor(GOLD, dtype=torch.float32),
        torch.tensor([1.0, 1.0, 0.0]),
        np.arange(3),
        15,
    )


def said(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(3, 5, 2, generator=draw), torch.randn(3, generator=draw)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def bce(margin: float, label: float) -> float:
    return -(label * math.log(sigmoid(margin)) + (1 - label) * math.log(1 - sigmoid(margin)))


def by_hand(taught: bool = False) -> dict[str, float]:
    (tokens, rank), (teacher, teacher_rank) = said(), said(1)
    margin = (tokens[..., 1] - tokens[..., 0]).double().tolist()
    theirs = (teacher[..., 1] - teacher[..., 0]).double().tolist()
    places = [(row, at, unit) for row, own in enumerate(UNITS) for at, unit in enumerate(own) if unit >= 0]
    of_unit = [[margin[row][at] for row, at, unit in places if unit == number] for number in range(7)]
    means = [sum(map(sigmoid, own)) / len(own) for own in of_unit]
    logits = [sum(own) / len(own) for own in of_unit]
    orders = []
    for units in ([0, 1], [2, 3, 4]):
        norm = math.log(sum(math.exp(logits[unit]) for unit in units))
        right = [unit for unit in units if GOLD[unit]]
        orders.append(-sum(logits[unit] - norm for unit in right) / len(right))
    found = {
        "token": sum(bce(margin[row][at], GOLD[unit]) for row, at, unit in places) / len(places),
        "unit": sum(-math.log(mean if label else 1 - mean) for mean, label in zip(means, GOLD, strict=True)) / 7,
        "listwise": sum(orders) / 2,
        "ranking": sum(bce(value, label) for value, label in zip(rank.tolist(), (1, 1, 0), strict=True)) / 3,
    }
    if taught:
        found["distillation"] = sum(bce(margin[r][a], sigmoid(theirs[r][a])) for r, a, _ in places) / len(places)
        found["distillation"] += (
            sum((one - two) ** 2 for one, two in zip(rank.tolist(), teacher_rank.tolist(), strict=True)) / 3
        )
    return found


def test_losses_are_the_formulas() -> None:
    wanted = by_hand(taught=True)
    got = losses(said(), batch(), SETTINGS, said(1))
    assert {name: value.item() for name, value in got.items()} == pytest.approx(wanted, rel=1e-5)
    weights = {"token": 0.5, "unit": 1, "listwise": 0.3, "ranking": 0.3, "distillation": 0.5}
    assert total(got, SETTINGS).item() == pytest.approx(sum(weights[name] * wanted[name] for name in weights), rel=1e-5)


def test_padded_labels_count_every_token() -> None:
    settings = dataclasses.replace(SETTINGS, labelled="padded")
    margin = said()[0][..., 1] - said()[0][..., 0]
    labels = [[GOLD[unit] if unit >= 0 else 0 for unit in own] for own in UNITS]
    wanted = sum(
        bce(m, label)
        for own, said in zip(margin.tolist(), labels, strict=True)
        for m, label in zip(own, said, strict=True)
    )
    assert losses(said(), batch(), settings)["token"].item() == pytest.approx(wanted / 15, rel=1e-5)


def test_scores_of_a_teacher_are_met_as_they_are() -> None:
    settings = dataclasses.replace(SETTINGS, ranking="scores")
    given = dataclasses.replace(batch(), rank=torch.tensor([2.5, -1.0, 7.0]))
    wanted = ((said()[1] - given.rank) ** 2).mean().item()
    assert losses(said(), given, settings)["ranking"].item() == pytest.approx(wanted, rel=1e-6)


def test_weights_of_zero_are_not_computed_and_a_row_without_gold_orders_nothing() -> None:
    only = dataclasses.replace(SETTINGS, token_loss=0, unit_loss=0, ranking_loss=0, distillation_loss=0)
    assert [*losses(said(), batch(), only)] == ["listwise"]
    none = dataclasses.replace(batch(), gold=torch.zeros(7))
    assert losses(said(), none, only)["listwise"].item() == 0


def test_no_number_is_so_sure_that_it_is_infinite() -> None:
    sure = torch.zeros(3, 5, 2)
    sure[..., 1] = torch.where(torch.tensor(UNITS) % 2 == 0, 1e4, -1e4)
    sure.requires_grad_()
    found = total(
        losses((sure, torch.full((3,), -1e4)), batch(), dataclasses.replace(SETTINGS, ranking_loss=0)), SETTINGS
    )
    found.backward()
    assert torch.isfinite(found)
    assert sure.grad is not None
    assert torch.isfinite(sure.grad).all()


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    settings = TrainingSettings(tokens=1000, learning_rate=1.0, warm_up=0.1)
    rates = [learning_rate(settings, tokens) for tokens in (0, 50, 100, 550, 1000, 1200)]
    assert rates == pytest.approx([0.05, 0.5, 1, 0.5, 0, 0])
