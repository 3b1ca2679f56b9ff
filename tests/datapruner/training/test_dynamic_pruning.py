"""Dynamic pruning: which rows an epoch leaves out, weights that keep the expected gradient, and their end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datapruner.training.dynamic_pruning import DynamicPruning


def trained(pruning: DynamicPruning, losses: np.ndarray, batch: int = 16) -> None:
    """One epoch whose rows have `losses`."""
    rows = [*pruning]
    for first in range(0, len(rows), batch):
        indices = torch.tensor(rows[first : first + batch])
        pruning.weighted_mean(indices, torch.tensor(losses[indices.numpy()]))


LOSSES = np.random.default_rng(0).exponential(size=100).astype(np.float32)


def test_the_easy_half_is_halved_and_weighs_double() -> None:
    losses = np.arange(10, dtype=np.float32)
    pruning = DynamicPruning(10, epochs=10)
    # nothing is known yet: the first epoch has all rows
    assert sorted(pruning) == [*range(10)]
    trained(pruning, losses)
    pruning.begin_epoch(1)
    rows = [*pruning]
    # the mean is 4.5, of five rows below it half are left out: Python rounds 2.5 to 2
    assert len(rows) == len(pruning) == 8
    assert set(range(5, 10)) <= set(rows)
    kept = [row for row in rows if row < 5]
    wanted = [5 / 3 if row in kept else float(row >= 5) for row in range(10)]
    np.testing.assert_allclose(pruning.weights(torch.arange(10)), wanted, rtol=1e-6)
    loss = pruning.weighted_mean(torch.tensor([kept[0], 9]), torch.tensor([2.0, 1.0]))
    assert float(loss) == pytest.approx((2 * 5 / 3 + 1) / 2)


def test_weights_sum_to_all_rows_and_each_row_is_drawn_alike() -> None:
    times = np.zeros(100)
    for seed in range(300):
        pruning = DynamicPruning(100, epochs=4, ratio=0.3, seed=seed)
        trained(pruning, LOSSES)
        pruning.begin_epoch(1)
        weights = pruning.weights(torch.arange(100))
        assert float(weights.sum()) == pytest.approx(100, rel=1e-6)
        times += weights.numpy()
    # the expected weight of every row is 1: within five standard errors of 300 draws
    below = LOSSES.mean() > LOSSES
    assert (times[~below] == 300).all()
    assert abs(times[below] / 300 - 1).max() < 5 * (0.3 / 0.7 / 300) ** 0.5


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 8, 10, 16, 33])
@pytest.mark.parametrize("delta", [0.0, 0.3, 0.875, 0.9, 1 / 3, 1.0])
def test_the_last_epochs_have_all_rows_with_weight_one(epochs: int, delta: float) -> None:
    pruning = DynamicPruning(100, epochs, delta=delta)
    pruned = []
    for epoch in range(epochs):
        pruning.begin_epoch(epoch)
        pruned.append(len(pruning) < 100)
        is_plain = bool((pruning.weights(torch.arange(100)) == 1).all())
        assert is_plain == (not pruned[-1])
        trained(pruning, LOSSES)
    last = [epoch for epoch, is_pruned in enumerate(pruned) if is_pruned]
    # the first epoch knows no losses; of the others those within delta are pruned, and never the last of all
    assert last == [*range(1, min(int(delta * epochs + 1e-9), epochs - 1))]


def test_losses_that_are_all_alike_leave_nothing_out() -> None:
    pruning = DynamicPruning(1001, epochs=10)
    trained(pruning, np.full(1001, 0.1, np.float32))
    pruning.begin_epoch(1)
    assert len(pruning) == 1001


def test_it_goes_on_and_leaves_the_world_alone() -> None:
    torch.manual_seed(3)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr, index]
    next_of_loaders = torch.utils.data.dataloader._BaseDataLoaderIter.__next__
    whole, begun = DynamicPruning(100, 8, seed=2), DynamicPruning(100, 8, seed=2)
    for epoch in range(3):
        for pruning in (whole, begun):
            pruning.begin_epoch(epoch)
            trained(pruning, LOSSES * (1 + epoch))
    for pruning in (whole, begun):
        pruning.begin_epoch(3)
    again = DynamicPruning(100, 8, seed=2)
    again.load_state_dict(begun.state_dict())
    assert [*again] == [*whole]
    trained(again, LOSSES)
    trained(whole, LOSSES)
    again.begin_epoch(4)
    whole.begin_epoch(4)
    assert [*again] == [*whole]
    assert torch.equal(state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()  # type: ignore[index]
    assert torch.utils.data.dataloader._BaseDataLoaderIter.__next__ is next_of_loaders


def test_refuses() -> None:
    for wrong in ({"ratio": 1.0}, {"delta": 1.1}, {"epochs": 0}, {"n": 0}):
        with pytest.raises(ValueError, match="want at least 1 row"):
            DynamicPruning(**{"n": 5, "epochs": 2, **wrong})  # type: ignore[arg-type]
    pruning = DynamicPruning(5, 2)
    with pytest.raises(ValueError, match="want a loss for each"):
        pruning.weighted_mean(torch.arange(2), torch.tensor(1.0))
    with pytest.raises(ValueError, match="want finite losses, got nan"):
        pruning.weighted_mean(torch.arange(2), torch.tensor([1.0, torch.nan]))
    with pytest.raises(ValueError, match=r"want an epoch in \[0, 2\), got 2"):
        pruning.begin_epoch(2)
    pruning.weighted_mean(torch.arange(2), torch.ones(2))
    with pytest.raises(ValueError, match="want begin_epoch"):
        pruning.state_dict()
    with pytest.raises(ValueError, match="want a state of rows, epochs"):
        DynamicPruning(6, 2).load_state_dict(DynamicPruning(5, 2).state_dict())
