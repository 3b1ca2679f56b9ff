"""Binary codes: bits by hand, agreement against counted bits, and signs that follow the angle."""

import math
import sys

import pytest
import torch

from prunekernels.binary_codes import agreeing, agreement, numbers, signs

MODULE = sys.modules["prunekernels.binary_codes"]


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _bits(packed: torch.Tensor, n_bits: int) -> torch.Tensor:
    return torch.tensor([[row[i // 8] >> (i % 8) & 1 for i in range(n_bits)] for row in packed.tolist()])


def test_by_hand(device: torch.device) -> None:
    vectors = torch.tensor([[1.0, -1, 0, 2, -3, -1, -1, -1, 5], [1.0, 1, 1, 1, 1, 1, 1, 1, -1]], device=device)
    packed = signs(vectors)
    assert packed.tolist() == [[0b1001, 1], [255, 0]]
    assert agreeing(packed, packed, 9).tolist() == [[9, 2], [2, 9]]
    codes = numbers(torch.tensor([0, 5, 256, 299], device=device), 300)
    assert codes.tolist() == [[0, 0], [5, 0], [0, 1], [43, 1]]
    # nine bits; 5 is 101, 256 is 100000000
    assert agreeing(codes[:1], codes, 9).tolist() == [[9, 7, 8, 4]]
    assert numbers(torch.tensor([0], device=device), 1).tolist() == [[0]]
    # two tokens: the better of each document's
    assert agreement(packed, packed, [1, 0, 1], 9).tolist() == [11, -torch.inf, 11]
    assert agreement(packed, packed, [2], 9).tolist() == [18]


@pytest.mark.parametrize("n_bits", [1, 8, 9, 33])
def test_agrees_with_counted_bits(n_bits: int, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [3, 0, 20, 1]
    one, other = signs(_draw(5, n_bits).to(device)), signs(_draw(24, n_bits, seed=1).to(device))
    wanted = (_bits(one, n_bits)[:, None] == _bits(other, n_bits)).sum(-1).float()
    assert torch.equal(agreeing(one, other, n_bits).cpu(), wanted)
    parts = wanted.split(lengths, dim=1)
    scores = [float(part.amax(1).sum()) if part.numel() else -torch.inf for part in parts]
    assert agreement(one, other, lengths, n_bits).tolist() == scores
    monkeypatch.setattr(MODULE, "ROWS", 2)
    assert agreement(one, other, lengths, n_bits).tolist() == scores


def test_signs_follow_the_angle(device: torch.device) -> None:
    one, noise = _draw(1, 4000).to(device), _draw(1, 4000, seed=1).to(device)
    for angle in (0.0, 0.3, 1.2, math.pi):
        other = math.cos(angle) * one + math.sin(angle) * noise
        differing = 4000 - float(agreeing(signs(one), signs(other), 4000))
        # three standard deviations of 4,000 bits
        assert differing / 4000 == pytest.approx(angle / math.pi, abs=3 * 0.5 / 4000**0.5 + 0.01)


def test_nothing_to_score(device: torch.device) -> None:
    packed = signs(_draw(2, 9).to(device))
    assert agreement(packed, packed[:0], [], 9).shape == (0,)
    assert agreement(packed, packed[:0], [0], 9).tolist() == [-torch.inf]
    assert agreement(packed[:0], packed, [1, 0, 1], 9).tolist() == [0, -torch.inf, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: signs(torch.tensor([[1.0], [torch.nan]])), "row 1 of vectors"),
        (lambda: signs(torch.ones(2, 2).long()), "floating"),
        (lambda: numbers(torch.tensor([0, 4]), 4), r"\[0, 4\), got 0 to 4"),
        (lambda: numbers(torch.tensor([-1]), 4), "got -1"),
        (lambda: numbers(torch.tensor([0.5]), 4), "whole codes"),
        (lambda: agreeing(signs(torch.ones(1, 8)), signs(torch.ones(1, 9)), 8), r"uint8 \[N, 1\]"),
        (lambda: agreement(torch.ones(1, 1), signs(torch.ones(1, 8)), [1], 8), "uint8"),
        (lambda: agreement(signs(torch.ones(1, 8)), signs(torch.ones(1, 8)), [2], 8), "sum to 1 rows"),
    ],
)
def test_refuses(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
