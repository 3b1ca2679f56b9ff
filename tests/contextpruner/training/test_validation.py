"""The temperature that is fitted is the one that the gold was drawn with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contextpruner.training.trainer.validation import Units, fitted_temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_gold_was_drawn_with_is_found(temperature: float) -> None:
    draw = torch.Generator().manual_seed(0)
    # units of one token: their mean is that token's probability
    margins = torch.randn(20_000, generator=draw) * 3
    gold = torch.rand(20_000, generator=draw) < (margins / temperature).sigmoid()
    half = 10_000
    rows = [
        Units(margins[place], torch.arange(half), np.ones(half), gold[place].numpy())
        for place in (slice(half), slice(half, None))
    ]
    assert fitted_temperature(rows) == pytest.approx(temperature, rel=0.1)


def test_a_unit_is_the_mean_of_its_tokens() -> None:
    row = Units(torch.tensor([0.0, 2.0, -2.0]), torch.tensor([0, 1, 1]), np.ones(3), np.array([True, False, False]))
    assert row.means(2.0).tolist() == pytest.approx([0.5, 0.5, 0.0])
    assert fitted_temperature([]) == 1.0
