"""Cosines of all pairs against float64, in each dtype and at every scale."""

import pytest
import torch

from prunekernels._gram import unit_gram


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 3e4])
def test_agrees_with_float64(dtype: torch.dtype, scale: float, device: torch.device) -> None:
    rows = torch.randn(2, 20, 33, generator=torch.Generator().manual_seed(0)).clamp(-2, 2) * scale
    rows[0, 3], rows[1, 5] = 0, rows[1, 4]
    rows = rows.to(dtype)
    wide = rows.double()
    exact = wide / wide.norm(dim=-1, keepdim=True).clamp(min=1e-300)
    gram = unit_gram(rows.to(device)).cpu()
    assert gram.dtype == torch.float32
    # halves are exact up to here: what is left is the rounding of 33 float32 sums and two scales
    torch.testing.assert_close(gram.double(), exact @ exact.mT, rtol=0, atol=4e-7)
    assert not gram[0, 3].any()
    assert not gram[0, :, 3].any()


def test_rows_of_very_different_lengths(device: torch.device) -> None:
    rows = torch.randn(1, 30, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    plain = unit_gram(rows.to(device))
    powers = torch.arange(-120, 120, 8)[None, :, None]
    # powers of two are exact in bfloat16, where their squares would overflow or fade
    assert torch.equal(unit_gram(torch.ldexp(rows.float(), powers).bfloat16().to(device)), plain)
