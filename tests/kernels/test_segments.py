"""Reductions over segments, against a loop."""

import pytest
import torch

from prunekernels import segments


@pytest.mark.parametrize("op", ["mean", "sum", "max"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_agrees_with_a_loop(op: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.cat([torch.arange(5), torch.randint(0, 5, (60,), generator=generator)])[torch.randperm(65)]
    values = torch.randn(65, generator=generator, dtype=torch.float64).to(dtype)
    reduced = segments.reduce(values, ids, op)
    assert reduced.dtype == dtype
    exact = [getattr(values[ids == k].double(), "amax" if op == "max" else op)() for k in range(5)]
    plain = [getattr(values[ids == k], "amax" if op == "max" else op)() for k in range(5)]
    error = (reduced.double() - torch.stack(exact)).abs().max()
    assert error <= 2 * (torch.stack(plain).double() - torch.stack(exact)).abs().max() + 1e-6


def test_order_and_empty_segments() -> None:
    ids = torch.tensor([2, 0, 2])
    assert segments.reduce(torch.tensor([1.0, 2, 3]), ids, "sum", 4).tolist() == [2, 0, 4, 0]
    assert segments.sizes(ids, 4).tolist() == [1, 0, 2, 0]
    assert segments.reduce(torch.empty(0), torch.empty(0, dtype=torch.int64), "sum", 2).tolist() == [0, 0]
    assert segments.reduce(torch.empty(0), torch.empty(0, dtype=torch.int64), "mean").tolist() == []


def test_negative_maxima_survive() -> None:
    assert segments.reduce(torch.tensor([-3.0, -2]), torch.tensor([0, 0]), "max").tolist() == [-2]


@pytest.mark.parametrize(
    ("values", "ids", "op", "count", "message"),
    [
        (torch.ones(2), torch.tensor([0, 2]), "mean", None, "segment 1 is empty"),
        (torch.ones(2), torch.tensor([0, 2]), "sum", 2, r"in \[0, 2\)"),
        (torch.ones(2), torch.tensor([0, -1]), "sum", None, "segment_ids"),
        (torch.ones(2), torch.tensor([0.0, 1]), "sum", None, "int64"),
        (torch.ones(2), torch.tensor([0]), "sum", None, "got"),
        (torch.ones(1), torch.tensor([0]), "median", None, "mean, sum or max"),
    ],
)
def test_refuses(values, ids, op, count, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segments.reduce(values, ids, op, count)
