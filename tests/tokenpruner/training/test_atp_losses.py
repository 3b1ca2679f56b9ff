"""ATP's losses by hand: depth, and the tokens that it trains towards."""

from __future__ import annotations

import math

import pytest
import torch

from tokenpruner.training.atp_losses import ATPLoss, Kept


def test_losses_by_hand():
    # two images of 8 and 16 tokens, cuts before layers 1 and 3 of 4
    kept = Kept(torch.tensor([[4.0, 2.0], [8.0, 4.0]]), torch.tensor([8, 16]), (1, 3), 4)
    assert kept.mean.tolist() == [(8 + 2 * 4 + 2) / 4, (16 + 2 * 8 + 4) / 4]
    loss = ATPLoss(keep_ratio=0.5)
    torch.testing.assert_close(loss.depth(kept), torch.tensor(0.5 * 1 + 0.25 * 3))
    torch.testing.assert_close(loss.target(kept), torch.tensor(((4.5 - 4) + (9 - 8)) / 2))
    torch.testing.assert_close(loss(kept), torch.tensor(0.05 * 1.25 + 0.2 * 0.75))
    assert ATPLoss() == ATPLoss(0.25, 0.05, 0.2)


def test_the_paper_trains_towards_144_tokens():
    counts = torch.tensor([[200.0, 80.0, 20.0]])
    kept = Kept(counts, torch.tensor([576]), (4, 14, 24), 32)
    mean = (4 * 576 + 10 * 200 + 10 * 80 + 8 * 20) / 32
    torch.testing.assert_close(ATPLoss().target(kept), torch.tensor(abs(mean - 144)))


def test_no_images_cost_nothing():
    kept = Kept(torch.zeros(0, 2), torch.zeros(0), (1, 3), 4)
    assert ATPLoss()(kept).item() == 0


@pytest.mark.parametrize("wrong", [{"keep_ratio": 0}, {"atp_weight": -1}, {"target_weight": math.nan}])
def test_wrong_losses(wrong):
    with pytest.raises(ValueError, match="want "):
        ATPLoss(**wrong)
