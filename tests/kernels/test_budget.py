"""Counts: exact, bounded, and those of the projection."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunekernels.budget import allocate, n_keep


@pytest.mark.parametrize(
    ("n", "keep_ratio", "wanted"),
    [
        (576, 0.1, 58),
        (10, 0.3, 3),
        (10, 0.31, 4),
        (3, 1 / 3, 1),
        (7, 1, 7),
        (5, 1e-12, 1),
        (100, 0.07, 7),
        (0, 0.5, 0),
        (1, 0.1, 1),
    ],
)
def test_n_keep_by_hand(n: int, keep_ratio: float, wanted: int) -> None:
    assert n_keep(n, keep_ratio) == wanted


@pytest.mark.parametrize("keep_ratio", [0, 1.5, -0.1, float("nan"), True, "0.5"])
def test_n_keep_refuses(keep_ratio: float) -> None:
    with pytest.raises(ValueError, match="keep_ratio"):
        n_keep(10, keep_ratio)


def test_n_keep_refuses_a_negative_count() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        n_keep(-1, 0.5)


@pytest.mark.parametrize(
    ("total", "sizes", "weights", "lower", "wanted"),
    [
        (10, [10, 10], None, None, [5, 5]),
        (10, [9000, 900, 100], None, None, [9, 1, 0]),
        # a projection moves the rest by the same shift, it does not share out in proportion
        (10, [3, 5, 9], [10, 1, 1], None, [3, 4, 3]),
        (7, [5, 5, 5], [0, 0, 1], [1, 1, 1], [1, 1, 5]),
        (1, [1, 1, 1], None, None, [1, 0, 0]),
        (0, [4, 4], None, None, [0, 0]),
        (8, [4, 4], [0, 0], None, [4, 4]),
        (3, [4, 4], [0, 0], None, [2, 1]),
        (0, [], None, None, []),
    ],
)
def test_allocate_by_hand(total, sizes, weights, lower, wanted) -> None:
    assert allocate(total, sizes, weights, lower).tolist() == wanted


def _problem(draw: st.DrawFn) -> tuple[int, list[int], list[float], list[int]]:
    sizes = draw(st.lists(st.integers(0, 12), min_size=1, max_size=6))
    lower = [draw(st.integers(0, size)) for size in sizes]
    weights = [draw(st.floats(0, 1e6, allow_subnormal=False)) for _ in sizes]
    return draw(st.integers(sum(lower), sum(sizes))), sizes, weights, lower


@given(st.composite(_problem)())
def test_allocate_meets_its_total_and_bounds(problem) -> None:
    total, sizes, weights, lower = problem
    counts = allocate(total, sizes, weights, lower)
    assert int(counts.sum()) == total
    assert all(low <= count <= size for low, count, size in zip(lower, counts.tolist(), sizes, strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_allocate_is_the_nearest_counts(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 6, (4,), generator=generator).tolist()
    lower = [min(size, 1) for size in sizes]
    weights = torch.rand(4, generator=generator, dtype=torch.float64)
    total = (sum(lower) + sum(sizes)) // 2
    target = total * weights / weights.sum()
    boxes = itertools.product(*(range(low, size + 1) for low, size in zip(lower, sizes, strict=True)))
    best = min(float((torch.tensor(box) - target).square().sum()) for box in boxes if sum(box) == total)
    found = float((allocate(total, sizes, weights, lower) - target).square().sum())
    # rounding the nearest point need not give the nearest whole counts, but never lies a unit off in two places
    assert found <= best + 1.0
    assert found == pytest.approx(best, abs=0.5)


def test_allocate_takes_a_billion_and_many_groups() -> None:
    sizes = torch.arange(1, 5001) * 1000
    counts = allocate(
        10**9, sizes, torch.rand(5000, generator=torch.Generator().manual_seed(0)), torch.ones(5000).long()
    )
    assert int(counts.sum()) == 10**9
    assert ((counts >= 1) & (counts <= sizes)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((9, [4, 4]), "total between 0 and 8, got 9"),
        ((-1, [4]), "total"),
        ((1, [4, 4], None, [1, 1]), "between 2 and 8"),
        ((1, [4, -1]), "size of group 1"),
        ((1, [4, 2], None, [0, 3]), "lower of group 1"),
        ((1, [4, 4], [1]), "one length"),
        ((1, [4, 4], [1, float("nan")]), "finite weights"),
        ((1, [4, 4], [1, -1]), "finite weights"),
    ],
)
def test_allocate_refuses(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        allocate(*arguments)
