"""Sums of rows by id: the form for CPUs and the form for GPUs agree, on every device."""

import sys

import pytest
import torch

from prunekernels._sums import _sum_runs, sum_rows


def test_by_hand(device: torch.device) -> None:
    values = torch.tensor([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]], device=device)
    ids = torch.tensor([3, 0, 3], device=device)
    for run in (sum_rows, _sum_runs):
        assert run(values, ids, 5).tolist() == [[10, 20], [0, 0], [0, 0], [101, 202], [0, 0]]


@pytest.mark.parametrize("run_length", [1, 3, 256])
@pytest.mark.parametrize(("n_rows", "n"), [(1, 1), (7, 3), (100, 4), (768, 1), (513, 1000)])
def test_both_forms_agree(
    run_length: int, n_rows: int, n: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["prunekernels._sums"], "RUN", run_length)
    generator = torch.Generator().manual_seed(n_rows)
    values = torch.randn(n_rows, 6, generator=generator, dtype=torch.float64).to(device)
    ids = torch.randint(0, n, (n_rows,), generator=generator).to(device)
    exact = torch.nn.functional.one_hot(ids, n).double().T @ values
    torch.testing.assert_close(sum_rows(values, ids, n), exact)
    torch.testing.assert_close(_sum_runs(values, ids, n), exact)
    assert torch.equal(_sum_runs(values, ids, n), _sum_runs(values, ids, n))


def test_nothing_sums_to_zero(device: torch.device) -> None:
    values, ids = torch.zeros(0, 3, device=device), torch.zeros(0, dtype=torch.int64, device=device)
    assert torch.equal(sum_rows(values, ids, 2), torch.zeros(2, 3, device=device))
    assert sum_rows(values, ids, 0).shape == (0, 3)


def test_both_forms_have_gradients(device: torch.device) -> None:
    for run in (sum_rows, _sum_runs):
        values = torch.ones(5, 2, device=device, requires_grad=True)
        sums = run(values, torch.tensor([1, 0, 1, 1, 0], device=device), 3)
        (sums * torch.tensor([[1.0], [2.0], [4.0]], device=device)).sum().backward()
        assert values.grad is not None
        assert values.grad[:, 0].tolist() == [2, 1, 2, 2, 1]
