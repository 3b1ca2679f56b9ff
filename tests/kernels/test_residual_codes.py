"""Residuals in bits: buckets by hand and against numpy's quantiles, and what comes back out of the bytes."""

import sys

import numpy as np
import pytest
import torch

from prunekernels.residual_codes import BITS, Buckets, decode, encode, fit

MODULE = sys.modules["prunekernels.residual_codes"]


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_by_hand(device: torch.device) -> None:
    buckets = fit(torch.tensor([[8.0, 2.0, 0.0], [4.0, 6.0, 10.0]], device=device), 1)
    # the median of 0 2 4 6 8 10, and its quartiles
    assert (buckets.cutoffs.tolist(), buckets.weights.tolist()) == ([5.0], [2.5, 7.5])
    rows = torch.tensor([[9.0, 0, 0, 9, 0, 0, 0, 0, 9], [5.0, 5.1, 0, 0, 0, 0, 0, 9, 0]], device=device)
    packed = encode(rows, buckets.cutoffs)
    # the first dimension is the lowest bit, and a cutoff belongs to the bucket below it
    assert packed.tolist() == [[0b1001, 1], [0b10000010, 0]]
    assert decode(packed, buckets.weights, 9)[0].tolist() == [7.5, 2.5, 2.5, 7.5, 2.5, 2.5, 2.5, 2.5, 7.5]
    cutoffs = torch.tensor([-1.0, 0.0, 1.0], device=device)
    assert encode(torch.tensor([[-2.0, -0.5, 0.5, 2.0, 9.0]], device=device), cutoffs).tolist() == [[0b11100100, 3]]


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("n_dims", [1, 7, 8, 33])
def test_comes_back_as_the_weight_of_its_bucket(
    bits: int, n_dims: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = _draw(41, n_dims).to(device)
    buckets = fit(rows, bits)
    levels = np.arange(2 ** (bits + 1)) / 2 ** (bits + 1)
    quantiles = np.quantile(rows.cpu().double().numpy(), levels)
    np.testing.assert_allclose(buckets.weights.cpu(), quantiles[1::2], atol=1e-6)
    np.testing.assert_allclose(buckets.cutoffs.cpu(), quantiles[2::2], atol=1e-6)
    packed = encode(rows, buckets.cutoffs)
    assert packed.shape == (41, -(-n_dims * bits // 8))
    which = (rows[..., None] > buckets.cutoffs).sum(-1)
    assert torch.equal(decode(packed, buckets.weights, n_dims), buckets.weights[which])
    monkeypatch.setattr(MODULE, "MAX_ENTRIES", 50)
    assert torch.equal(encode(rows, buckets.cutoffs), packed)
    assert torch.equal(encode(rows.T.contiguous().T, buckets.cutoffs), packed)
    order = torch.randperm(41)
    assert torch.equal(encode(rows[order], buckets.cutoffs), packed[order])
    assert torch.equal(encode(rows.bfloat16(), buckets.cutoffs), encode(rows.bfloat16().float(), buckets.cutoffs))


def test_more_bits_come_nearer(device: torch.device) -> None:
    rows = _draw(200, 16).to(device)
    errors = []
    for bits in BITS:
        buckets = fit(rows, bits)
        errors.append(float((decode(encode(rows, buckets.cutoffs), buckets.weights, 16) - rows).square().mean()))
    # of a normal variable, whose variance is 1
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 0.42
    assert errors[-1] < 0.05


def test_equal_entries_and_no_rows(device: torch.device) -> None:
    buckets = fit(torch.full((3, 2), 0.25, device=device), 4)
    packed = encode(torch.full((3, 2), 0.25, device=device), buckets.cutoffs)
    assert decode(packed, buckets.weights, 2).unique().tolist() == [0.25]
    assert encode(torch.zeros(0, 5, device=device), buckets.cutoffs).shape == (0, 3)
    assert decode(torch.zeros(0, 3, dtype=torch.uint8, device=device), buckets.weights, 5).shape == (0, 5)


ONE = Buckets(torch.zeros(1), torch.tensor([-1.0, 1.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit(torch.ones(2, 2), 3), "1, 2 or 4 bits"),
        (lambda: fit(torch.ones(0, 2), 2), "at least 1"),
        (lambda: fit(torch.ones(2), 2), r"\[N, D\]"),
        (lambda: fit(torch.tensor([[0.0], [torch.nan]]), 2), "row 1 of residuals"),
        (lambda: encode(torch.ones(2), ONE.cutoffs), r"\[N, D\]"),
        (lambda: encode(torch.ones(2, 2), torch.zeros(2)), "2, 4 or 16 buckets, got 3"),
        (lambda: encode(torch.tensor([[torch.inf]]), ONE.cutoffs), "row 0 of residuals"),
        (lambda: encode(torch.ones(2, 2).long(), ONE.cutoffs), "floating"),
        (lambda: decode(torch.zeros(2, 2, dtype=torch.uint8), ONE.weights, 17), r"\[N, 3\]"),
        (lambda: decode(torch.zeros(2, 2), ONE.weights, 16), "uint8"),
        (lambda: decode(torch.zeros(2, 1, dtype=torch.uint8), torch.tensor([0.0, torch.nan]), 8), "row 1 of weights"),
    ],
)
def test_refuses(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
