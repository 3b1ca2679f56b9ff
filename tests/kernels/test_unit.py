"""Rows of length 1, and which rows are refused."""

import pytest
import torch

from prunekernels._unit import check_rows, unit_rows


def test_rows_of_any_length_keep_their_direction(device: torch.device) -> None:
    rows = torch.tensor([[3.0, -4.0]], dtype=torch.float64, device=device)
    wanted = torch.tensor([[0.6, -0.8]], device=device)
    for scale in (1.0, 1e-30, 1e-42, 1e-300, 1e30, 1e300):
        torch.testing.assert_close(unit_rows(scale * rows), wanted)
    for power in range(-37, 38):
        torch.testing.assert_close(unit_rows((10.0**power * rows).float()), wanted)
    # numbers below float32's smallest normal one have few digits left
    torch.testing.assert_close(unit_rows((1e-41 * rows).float()), wanted, rtol=1e-3, atol=0)
    torch.testing.assert_close(unit_rows(rows.half() * 6e-8), wanted, rtol=0.2, atol=0)


def test_zero_rows_and_empty_ones_stay(device: torch.device) -> None:
    assert unit_rows(torch.zeros(2, 3, device=device)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert unit_rows(torch.zeros(2, 0, device=device)).shape == (2, 0)
    assert unit_rows(torch.zeros(0, 3, device=device)).shape == (0, 3)


def test_unit_rows_do_not_touch_their_input(device: torch.device) -> None:
    rows = torch.randn(4, 5, 6, device=device) * torch.tensor([1.0, 1e-30, 1e30, 0.0], device=device)[:, None, None]
    before = rows.clone()
    unit = unit_rows(rows)
    assert torch.equal(rows, before)
    assert unit.dtype == torch.float32
    torch.testing.assert_close(unit.norm(dim=-1)[:3], torch.ones(3, 5, device=device))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_refuses_what_is_not_finite(value: float, dtype: torch.dtype, device: torch.device) -> None:
    values = torch.ones(3, 4, dtype=dtype, device=device)
    values[0] = torch.finfo(dtype).max
    check_rows("values", values)
    values[2, 3] = value
    with pytest.raises(ValueError, match="row 2 of values"):
        check_rows("values", values)
    with pytest.raises(ValueError, match="row 2 of set 1 of values"):
        check_rows("values", torch.stack([torch.ones_like(values), values]))


def test_refuses_whole_numbers() -> None:
    with pytest.raises(ValueError, match="floating-point values"):
        check_rows("values", torch.ones(2, 3, dtype=torch.int64))
