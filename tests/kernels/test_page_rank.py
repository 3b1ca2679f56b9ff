"""Weighted PageRank on both backends."""

import sys

import pytest
import torch

from prunekernels.page_rank import page_rank


def _graphs(*shape: int, seed: int = 0) -> torch.Tensor:
    return (2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))).softmax(-1)


def _exact(weights: torch.Tensor, iterations: int, mass: torch.Tensor) -> torch.Tensor:
    power = torch.linalg.matrix_power(weights.double().mT, iterations)
    return (power @ mass.double().expand(weights.shape[:-1])[..., None])[..., 0]


def test_by_hand(backend: str, device: torch.device) -> None:
    weights = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]], device=device)
    # from a third each: 1/6 + 1/3 to the first, 1/3 to the second, 1/6 to the third
    once = page_rank(weights, 1, backend=backend)
    torch.testing.assert_close(once.cpu(), torch.tensor([1 / 2, 1 / 3, 1 / 6]))
    twice = page_rank(weights, 2, backend=backend)
    torch.testing.assert_close(twice.cpu(), torch.tensor([1 / 6 + 1 / 6, 1 / 2, 1 / 6]))
    assert page_rank(weights, 0, backend=backend).tolist() == pytest.approx([1 / 3] * 3)


# one node; below, at and past a tile of rows; past a power of two of columns
@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (2, 3, 32, 32), (2, 33, 33), (1, 130, 130)])
@pytest.mark.parametrize("iterations", [1, 2, 7])
def test_agrees_with_float64(shape, iterations: int, backend: str, device: torch.device) -> None:
    weights = _graphs(*shape)
    start = torch.rand(shape[-1], generator=torch.Generator().manual_seed(1))
    mass = page_rank(weights.to(device), iterations, start.to(device), backend=backend)
    assert mass.dtype == torch.float32
    torch.testing.assert_close(mass.cpu().double(), _exact(weights, iterations, start), rtol=5e-6, atol=1e-8)


def test_mass_is_conserved_and_settles(backend: str, device: torch.device) -> None:
    weights = _graphs(4, 60, 60).to(device)
    start = torch.rand(4, 60, generator=torch.Generator().manual_seed(2)).to(device)
    mass = page_rank(weights, 50, start, backend=backend)
    torch.testing.assert_close(mass.sum(-1), start.sum(-1), rtol=1e-5, atol=0)
    torch.testing.assert_close(page_rank(weights, 51, start, backend=backend), mass, rtol=1e-4, atol=1e-6)
    # a doubly stochastic graph leaves uniform mass where it is
    ring = torch.eye(12, device=device).roll(1, 0)
    torch.testing.assert_close(page_rank(ring, 9, backend=backend), torch.full((12,), 1 / 12, device=device))


def test_nodes_may_be_renamed(backend: str, device: torch.device) -> None:
    weights = _graphs(40, 40).to(device)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3)).to(device)
    renamed = page_rank(weights[order][:, order], 6, backend=backend)
    torch.testing.assert_close(renamed, page_rank(weights, 6, backend=backend)[order], rtol=1e-5, atol=1e-8)


def test_strides_halves_and_edges(backend: str, device: torch.device) -> None:
    weights = _graphs(3, 20, 20).to(device)
    dense = page_rank(weights, 4, backend=backend)
    columns = weights.mT.contiguous().mT
    torch.testing.assert_close(page_rank(columns, 4, backend=backend), dense)
    torch.testing.assert_close(page_rank(torch.stack([weights, weights], 1)[:, 1], 4, backend=backend), dense)
    half = weights.half()
    exact = _exact(half.cpu(), 4, torch.full((20,), 1 / 20))
    torch.testing.assert_close(page_rank(half, 4, backend=backend).cpu().double(), exact, rtol=5e-6, atol=1e-8)
    assert page_rank(weights[:0], 4, backend=backend).shape == (0, 20)
    assert page_rank(weights[:, :0, :0], 4, backend=backend).shape == (3, 0)


@pytest.mark.parametrize(("fused", "made"), [(512, 2**27), (8, 37**2), (8, 37**2 - 1)])
def test_queries_and_keys(
    fused: int, made: int, backend: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    # up to `fused` nodes the graph is made and the kernel fused; up to `made` edges a CPU makes it; beyond, iterations
    # are weighted column sums
    monkeypatch.setattr(sys.modules["prunekernels.page_rank"], "MAX_FUSED", fused)
    monkeypatch.setattr(sys.modules["prunekernels.page_rank"], "MAX_MADE", made)
    generator = torch.Generator().manual_seed(4)
    q, k = torch.randn(2, 4, 37, 16, generator=generator), torch.randn(2, 2, 37, 16, generator=generator)
    weights = (q.double() @ k.double().repeat_interleave(2, 1).mT / 4).softmax(-1)
    start = torch.rand(37, generator=generator)
    mass = page_rank((q.to(device), k.to(device)), 5, start.to(device), backend=backend)
    torch.testing.assert_close(mass.cpu().double(), _exact(weights, 5, start), rtol=2e-5, atol=1e-8)
    with pytest.raises(ValueError, match="NaN|row"):
        page_rank((torch.full_like(q, torch.nan).to(device), k.to(device)), 5, backend=backend)


WEIGHTS = torch.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(3), 1), "weights"),
        ((torch.ones(2, 3), 1), "weights"),
        ((torch.ones(2, 2).long(), 1), "floating"),
        ((WEIGHTS, -1), "iterations"),
        ((torch.ones(1, 2, 2), 1), r"row \[0, 0\]: want weights >= 0 that sum to 1, got a sum of 2"),
        ((torch.tensor([[0.5, 0.5], [-0.5, 1.5]]), 1), r"row \[1\]"),
        ((torch.tensor([[0.5, 0.5], [torch.nan, 1]]), 1), r"row \[1\]"),
        ((WEIGHTS, 1, torch.ones(3)), "start"),
        ((WEIGHTS, 1, torch.ones(2, 2)), "start"),
        ((WEIGHTS, 1, torch.tensor([1, torch.nan])), "finite start"),
        ((WEIGHTS, 1, torch.tensor([1.0, -1.0])), "finite start"),
        (((torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 3, 4)), 1), "want q"),
    ],
)
def test_refuses(arguments, message: str, backend: str) -> None:
    with pytest.raises(ValueError, match=message):
        page_rank(*arguments, backend=backend)
