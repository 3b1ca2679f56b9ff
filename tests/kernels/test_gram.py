"""Cosines and products of all pairs against float64, in each dtype and at every scale."""

import pytest
import torch

from prunekernels._gram import LEAF, TILE, gram, gram_triton, plain_gram_triton, unit_gram


def _cosines(rows: torch.Tensor, backend: str) -> torch.Tensor:
    if backend == "torch":
        return unit_gram(rows)
    dots, own = gram_triton(rows[None])
    assert torch.equal(dots[0].diagonal(), own[0])
    scale = own.clamp(min=1e-30).rsqrt()
    return (dots * scale[:, None] * scale[..., None])[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 3e4])
def test_agrees_with_float64(dtype: torch.dtype, scale: float, backend: str, device: torch.device) -> None:
    rows = torch.randn(20, 33, generator=torch.Generator().manual_seed(0)).clamp(-2, 2) * scale
    rows[3], rows[5] = 0, rows[4]
    rows = rows.to(dtype)
    wide = rows.double()
    exact = wide / wide.norm(dim=-1, keepdim=True).clamp(min=1e-300)
    cosines = _cosines(rows.to(device), backend).cpu()
    assert cosines.dtype == torch.float32
    # halves are exact up to here: what is left is the rounding of 33 float32 sums and two scales
    torch.testing.assert_close(cosines.double(), exact @ exact.mT, rtol=0, atol=4e-7)
    assert not cosines[3].any()
    assert not cosines[:, 3].any()


def test_rows_of_very_different_lengths(backend: str, device: torch.device) -> None:
    rows = torch.randn(30, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    plain = _cosines(rows.to(device), backend)
    # powers of two are exact in bfloat16, where the squares of these overflow or fade
    powers = torch.arange(-120, 120, 8)[:, None]
    cosines = _cosines(torch.ldexp(rows.float(), powers).bfloat16().to(device), backend)
    torch.testing.assert_close(cosines, plain, rtol=0, atol=4e-7)


@pytest.mark.parametrize("n_rows", [1, LEAF, LEAF + 1, 2 * LEAF + 17, TILE + 1, 3 * TILE])
def test_products_of_any_number_of_rows(n_rows: int, backend: str, device: torch.device) -> None:
    # small whole numbers: every product is exact, and a tile in the wrong place shows
    rows = torch.randint(-8, 9, (n_rows, 5), generator=torch.Generator().manual_seed(n_rows)).float()
    own = rows.to(device)
    dots = gram(own) if backend == "torch" else plain_gram_triton(own[None])[0][0]
    assert torch.equal(dots.cpu(), rows @ rows.T)


def test_a_set_has_the_same_bits_in_any_batch(device: torch.device) -> None:
    rows = torch.randn(3, 70, 40, generator=torch.Generator().manual_seed(2)).to(device)
    whole = gram_triton(rows)[0]
    for image in range(3):
        assert torch.equal(gram_triton(rows[image : image + 1, :50])[0][0], whole[image, :50, :50])
