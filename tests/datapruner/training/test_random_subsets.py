"""Repeated random subsets: exact slices, every row in its turn, the same after a stop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from datapruner.training.random_subsets import RandomSubsets


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.data(), st.booleans())
def test_every_epoch_has_exactly_as_many_different_rows(n: int, data: st.DataObject, replacement: bool) -> None:
    n_keep = data.draw(st.integers(1, n))
    subsets = RandomSubsets(n, n_keep=n_keep, replacement=replacement, seed=data.draw(st.integers(0, 3)))
    rows = [[*subsets] for _ in range(3 * n // n_keep + 2)]
    for epoch, subset in enumerate(rows):
        assert len(subset) == len(set(subset)) == n_keep
        assert set(subset) <= set(range(n))
        assert subset == subsets.subset(epoch).tolist()
    if not replacement:
        # each stretch of n is all rows: none comes again before all have been there
        handed = [row for subset in rows for row in subset]
        for first in range(0, len(handed) - n + 1, n):
            assert sorted(handed[first : first + n]) == [*range(n)]


def test_slices_of_ten_by_four() -> None:
    subsets = RandomSubsets(10, n_keep=4, seed=7)
    rows = [subsets.subset(epoch).tolist() for epoch in range(5)]
    assert sorted(rows[0] + rows[1] + rows[2][:2]) == [*range(10)]
    # a wrap at n + 1, or back to the shuffle's own beginning, would repeat or lose rows here
    assert not set(rows[2][2:]) & set(rows[2][:2])
    assert sorted(rows[2][2:] + rows[3] + rows[4]) == [*range(10)]
    assert [*RandomSubsets(10, 0.35, seed=7)] == rows[0]


def test_draws_with_replacement_hang_on_the_epoch_alone() -> None:
    subsets = RandomSubsets(200, 0.25, replacement=True, seed=3)
    first, second = subsets.subset(0), subsets.subset(1)
    assert 0 < len(set(first) & set(second)) < 50
    counts = np.bincount(np.concatenate([subsets.subset(epoch) for epoch in range(400)]), minlength=200)
    # 400 draws with chance 1/4: 100, within five standard errors
    assert abs(counts - 100).max() < 5 * (400 * 0.25 * 0.75) ** 0.5
    assert RandomSubsets(200, 0.25, replacement=True, seed=4).subset(0).tolist() != first.tolist()


@pytest.mark.parametrize("replacement", [False, True])
def test_it_goes_on_where_a_state_stood(replacement: bool) -> None:
    whole = RandomSubsets(23, n_keep=9, replacement=replacement, seed=1)
    wanted = [row for _ in range(8) for row in whole]
    for stop in (0, 1, 8, 9, 10, 40, 71):
        begun = RandomSubsets(23, n_keep=9, replacement=replacement, seed=1)
        seen: list[int] = []
        while len(seen) < stop:
            for row in begun:
                seen.append(row)
                if len(seen) == stop:
                    break
        again = RandomSubsets(23, n_keep=9, replacement=replacement, seed=1)
        again.load_state_dict(begun.state_dict())
        while len(seen) < len(wanted):
            again.set_epoch(again.epoch)
            seen.extend(again)
        assert seen == wanted


def test_a_loader_that_reads_ahead_says_how_far_it_trained() -> None:
    whole = RandomSubsets(20, n_keep=10, seed=5)
    first = whole.subset(0).tolist()
    begun = RandomSubsets(20, n_keep=10, seed=5)
    batches = iter(DataLoader([*range(20)], batch_size=4, sampler=begun))  # type: ignore[arg-type]
    trained = next(batches).tolist()
    next(batches)
    again = RandomSubsets(20, n_keep=10, seed=5)
    again.load_state_dict(begun.state_dict(consumed=4))
    assert trained + [*again] == first
    assert again.epoch == 1


def test_refuses() -> None:
    for options in ({}, {"keep_ratio": 0.5, "n_keep": 2}, {"keep_ratio": 0.0}, {"n_keep": 0}, {"n_keep": 11}):
        with pytest.raises(ValueError, match="want|keep_ratio"):
            RandomSubsets(10, **options)  # type: ignore[arg-type]
    state = RandomSubsets(10, n_keep=3).state_dict()
    with pytest.raises(ValueError, match="want a state with seed=1, got 0"):
        RandomSubsets(10, n_keep=3, seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="want a place in an epoch of 3 rows, got 3"):
        RandomSubsets(10, n_keep=3).load_state_dict({**state, "consumed": 3})
