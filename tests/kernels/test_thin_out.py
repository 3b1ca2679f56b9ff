"""Thinning out by rounds, against the rounds as printed in float64."""

import sys

import pytest
import torch

from prunekernels.thin_out import thin_out, thin_out_numpy, thin_out_torch

MODULE = sys.modules["prunekernels.thin_out"]


def _draw(n: int, width: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def _printed(features: torch.Tensor, n: int, per_round: int) -> list[int]:
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    left = list(range(len(features)))
    while len(left) > n:
        first, second = left[::2], left[1::2]
        similar = {a: max((float(unit[a] @ unit[b]) for b in second), default=0.0) for a in first}
        gone = sorted(first, key=lambda a: (-similar[a], a))[: min(per_round, len(left) - n)]
        left = [row for row in left if row not in gone]
    return left


def test_by_hand(device: torch.device) -> None:
    angles = torch.tensor([0.0, 90.0, 80.0, 181.0, 20.0, 21.0]).deg2rad()
    features = torch.stack([angles.cos(), angles.sin()], 1).to(device)
    # 4 is one degree from 5, and goes; then 0, 2 and 5 are at even places: 2 is ten degrees from 1
    assert thin_out(features, 5, 1).tolist() == [0, 1, 2, 3, 5]
    assert thin_out(features, 4, 1).tolist() == [0, 1, 3, 5]
    # two in a round: 4 and 2
    assert thin_out(features, 4, 2).tolist() == [0, 1, 3, 5]
    # 0, 3 against 1, 5: 0 is 21 degrees from 5
    assert thin_out(features, 3, 1).tolist() == [1, 3, 5]
    assert thin_out(features, 0).tolist() == []


@pytest.mark.parametrize(("n_rows", "n"), [(1, 0), (2, 1), (3, 1), (24, 5), (41, 0), (41, 40), (60, 13)])
@pytest.mark.parametrize("per_round", [1, 3, 8])
@pytest.mark.parametrize("listed", [1, 3, 32])
def test_agrees_with_the_rounds_as_printed(
    n_rows: int, n: int, per_round: int, listed: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    # short lists run out
    monkeypatch.setattr(MODULE, "LISTED", listed)
    features = _draw(n_rows)
    wanted = _printed(features, n, per_round)
    assert thin_out(features.to(device), n, per_round).tolist() == wanted
    unit = torch.nn.functional.normalize(features, dim=1)
    assert thin_out_torch(unit, n, per_round).tolist() == thin_out_numpy(unit, n, per_round).tolist() == wanted


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features = _draw(60)
    wanted = thin_out(features, 20)
    monkeypatch.setattr(MODULE, "MAX_PAIRS", 150)
    monkeypatch.setattr(MODULE, "LISTED", 4)
    assert torch.equal(thin_out(features, 20), wanted)


def test_equal_rows_go_from_the_front(device: torch.device) -> None:
    features = torch.eye(4, device=device).repeat_interleave(2, 0)
    assert thin_out(features, 4, 4).tolist() == [1, 3, 5, 7]
    # one at a time: 0, then 3 beside 2, 4 beside 5 and 7 beside 6
    assert thin_out(features, 4, 1).tolist() == [1, 2, 5, 6]
    assert thin_out(torch.zeros(9, 2, device=device), 3, 2).shape == (3,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_and_strides(dtype: torch.dtype, device: torch.device) -> None:
    features = _draw(30).to(device, dtype)
    wanted = thin_out(features.float(), 11)
    assert torch.equal(thin_out(features, 11), wanted)
    assert torch.equal(thin_out(features.T.contiguous().T, 11), wanted)
    assert wanted.dtype == torch.int64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.zeros(3)}, r"\[N, D\]"),
        ({"features": torch.zeros(3, 2).long()}, "floating"),
        ({"n": 4}, r"n in \[0, 3\]"),
        ({"n": -1}, r"n in \[0, 3\]"),
        ({"per_round": 0}, "at least 1 a round"),
        ({"features": torch.tensor([[0.0], [torch.nan], [1.0]])}, "row 1"),
    ],
)
def test_refuses(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        thin_out(**{"features": torch.ones(3, 2), "n": 1, **change})
