"""Greedy MAP of a determinantal point process on both backends, against determinants in float64."""

import pytest
import torch

from prunekernels.dpp_map import dpp_map, dpp_map_numpy, dpp_map_torch


def _brute(features: torch.Tensor, quality: torch.Tensor, n: int) -> list[int]:
    directions = torch.nn.functional.normalize(features.double(), dim=-1) * quality.double()[:, None]
    matrix = directions @ directions.T
    picks: list[int] = []
    for _ in range(n):
        left = [row for row in range(len(features)) if row not in picks]
        gains = [float(torch.logdet(matrix[picks + [row]][:, picks + [row]])) for row in left]
        picks.append(left[gains.index(max(gains))])
    return picks


def _problem(n_rows: int, n_dims: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_rows, n_dims, generator=generator), torch.rand(n_rows, generator=generator) + 0.2


def test_by_hand(backend: str, device: torch.device) -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], device=device)
    # the best first; then 0.9^2 of the upright row beats what 45 degrees leave of 1, namely 1/2
    picks = dpp_map(features, torch.tensor([1.1, 1.0, 0.9], device=device), 3, backend=backend)
    assert picks.tolist() == [0, 2, 1]
    picks = dpp_map(features, torch.tensor([1.1, 1.0, 0.6], device=device), 3, backend=backend)
    assert picks.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("n_rows", "n_dims", "n"), [(1, 3, 1), (17, 20, 9), (33, 40, 20), (64, 64, 12)])
def test_agrees_with_determinants(n_rows: int, n_dims: int, n: int, backend: str, device: torch.device) -> None:
    features, quality = _problem(n_rows, n_dims)
    picks = dpp_map(features.to(device), quality.to(device), n, backend=backend)
    assert picks.tolist() == _brute(features, quality, n)


def test_rotation_scale_and_nesting(backend: str, device: torch.device) -> None:
    features, quality = _problem(30, 16, seed=1)
    picks = dpp_map(features.to(device), quality.to(device), 12, backend=backend).tolist()
    rotation = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(2))).Q
    turned = (features @ rotation * torch.logspace(-20, 20, 30)[:, None]).to(device)
    assert dpp_map(turned, 1e-6 * quality.to(device), 12, backend=backend).tolist() == picks
    assert dpp_map(features.to(device), quality.to(device), 5, backend=backend).tolist() == picks[:5]


def test_spanned_rows_come_last_by_quality(backend: str, device: torch.device) -> None:
    features = torch.eye(3).repeat(4, 1).to(device)
    quality = torch.arange(12.0, device=device)
    picks = dpp_map(features, quality, 12, backend=backend).tolist()
    assert picks == [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    # exact duplicates of one quality: distinct picks, lower index first
    assert dpp_map(torch.ones(5, 2, device=device), torch.ones(5, device=device), 5, backend=backend).tolist() == [
        0, 1, 2, 3, 4,
    ]  # fmt: skip
    assert dpp_map(torch.zeros(4, 2, device=device), torch.zeros(4, device=device), 4, backend=backend).tolist() == [
        0, 1, 2, 3,
    ]  # fmt: skip


def test_more_picks_than_dimensions(backend: str, device: torch.device) -> None:
    features, quality = _problem(40, 6, seed=3)
    picks = dpp_map(features.to(device), quality.to(device), 40, backend=backend).tolist()
    assert sorted(picks) == list(range(40))
    assert picks[:6] == _brute(features, quality, 6)
    spanned = quality[torch.tensor(picks[6:])]
    assert (spanned.diff() <= 0).all()


def test_batches_of_sets_of_different_sizes(backend: str, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(4)
    features, quality = torch.randn(3, 20, 24, generator=generator), torch.rand(3, 20, generator=generator)
    sizes, counts = [20, 9, 0], [6, 9, 0]
    for image, size in enumerate(sizes):
        features[image, size:], quality[image, size:] = torch.nan, torch.inf
    features, quality = features.to(device), quality.to(device)
    picks = dpp_map(features, quality, counts, sizes, backend=backend)
    for image, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        alone = dpp_map(features[image, :size], quality[image, :size], count, backend=backend).tolist()
        assert picks[image].tolist() == alone + [-1] * (9 - count)


def test_edges_strides_and_halves(backend: str, device: torch.device) -> None:
    features, quality = (item.to(device) for item in _problem(20, 12, seed=5))
    assert dpp_map(features, quality, 0, backend=backend).tolist() == []
    assert dpp_map(features[:0], quality[:0], 0, backend=backend).tolist() == []
    picks = dpp_map(features, quality, 8, backend=backend).tolist()
    wide = torch.stack([features, features + 1], 1).flatten(0, 1)[::2]
    assert dpp_map(wide, torch.stack([quality, quality], 1)[:, 0], 8, backend=backend).tolist() == picks
    half = features.bfloat16()
    assert dpp_map(half, quality, 8, backend=backend).tolist() == _brute(half.cpu(), quality.cpu(), 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3, 2), torch.zeros(2), 1), "quality"),
        ((torch.zeros(3, 2), torch.zeros(3), 4), "between 0 and 3"),
        ((torch.zeros(3, 2), torch.tensor([0.0, -1.0, 0.0]), 1), "row 1 of set 0: want a quality"),
        ((torch.zeros(3, 2), torch.tensor([0.0, torch.nan, 0.0]), 1), "row 1 of set 0 of quality has NaN"),
        ((torch.tensor([[0.0], [torch.inf]]), torch.ones(2), 1), "row 1 of set 0 of features has NaN or infinity"),
        ((torch.zeros(3, 2).long(), torch.zeros(3), 1), "floating"),
    ],
)
def test_refuses(arguments, message: str, backend: str) -> None:
    with pytest.raises(ValueError, match=message):
        dpp_map(*arguments, backend=backend)


@pytest.mark.parametrize("n", [3, 40])
def test_steps_without_a_wait_pick_the_same(n: int) -> None:
    # what a GPU runs without Triton; rows repeat, so that some are spanned, and both ways of making products are taken
    rows = torch.randn(30, 6, generator=torch.Generator().manual_seed(23)).repeat(2, 1)
    assert torch.equal(dpp_map_torch(rows, n), dpp_map_numpy(rows, n))
