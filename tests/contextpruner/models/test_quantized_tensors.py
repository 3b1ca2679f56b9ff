"""Weights in 8 and 4 bits: worked by hand, bounded in error, and back exactly where they stood on a grid."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from contextpruner.models.quantized_tensors import dequantized, quantized


def test_by_hand() -> None:
    row = torch.tensor([[127.0, -64.0, 0.4], [0.0, 0.0, 0.0], [-2.54, 0.02, 1.0]])
    made = quantized({"w": row, "b": torch.ones(2)}, {"w": 8})
    assert made["w"].tolist() == [[127, -64, 0], [0, 0, 0], [-127, 1, 50]]
    assert made["w_scale"].tolist() == [[1.0], [0.0], [torch.tensor(0.02).half().item()]]
    back = dequantized(made, "here")
    assert {*back} == {"w", "b"}
    torch.testing.assert_close(
        back["w"], torch.tensor([[127.0, -64, 0], [0, 0, 0], [-2.54, 0.02, 1.0]]), atol=1e-3, rtol=0
    )


def test_pairs_lie_in_bytes_as_the_docs_say() -> None:
    numbers = torch.arange(32).remainder(16).sub(8).float()[None] * 0.5
    made = quantized({"w": numbers}, {"w": 4})
    assert made["w"].dtype == torch.uint8
    assert made["w"].shape == (1, 16)
    assert made["w"][0, :3].tolist() == [0 | 1 << 4, 2 | 3 << 4, 4 | 5 << 4]
    assert made["w_scale"].tolist() == [[0.5]]


@pytest.mark.parametrize(("bits", "worst"), [(8, 0.0075), (4, 0.1)])
def test_what_stood_on_a_grid_comes_back_and_what_did_not_stays_near(bits: int, worst: float, tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    any_weights = torch.randn(7, 96, generator=draw)
    once = dequantized(quantized({"w": any_weights}, {"w": bits}), "")["w"]  # type: ignore[dict-item]
    # a twelfth of a squared step, or less: of 127 of them from the largest of a row, of 8 from that of a block
    assert 0 < (once - any_weights).square().mean().sqrt() < worst
    again = quantized({"w": once}, {"w": bits})  # type: ignore[dict-item]
    save_file(again, tmp_path / "w.safetensors")
    torch.testing.assert_close(dequantized(load_file(tmp_path / "w.safetensors"), "")["w"], once, atol=1e-6, rtol=1e-3)


def test_rows_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"w: want finite \[rows, columns\], got \[3\]"):
        quantized({"w": torch.ones(3)}, {"w": 8})
    with pytest.raises(ValueError, match="w: want finite"):
        quantized({"w": torch.tensor([[torch.nan]])}, {"w": 8})
    with pytest.raises(ValueError, match="w: want columns in blocks of 32, got 33"):
        quantized({"w": torch.ones(1, 33)}, {"w": 4})
    made = quantized({"w": torch.ones(2, 64)}, {"w": 4})
    with pytest.raises(ValueError, match=r"a folder: w: want int8 .* got torch.uint8 \[2, 32\] with scales \[2, 1\]"):
        dequantized(made | {"w_scale": torch.ones(2, 1)}, "a folder")
