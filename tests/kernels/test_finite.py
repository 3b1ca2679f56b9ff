"""What is not finite is refused: at once on a CPU, later on a GPU, which nobody waits for."""

import pytest
import torch

from prunekernels._finite import check_finite, raise_pending
from prunekernels.dpp_map import dpp_map
from prunekernels.farthest_point import farthest_point


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_names_the_row(dtype: torch.dtype, bad: float) -> None:
    values = torch.full((3, 4, 5), torch.finfo(dtype).max, dtype=dtype)
    values[:, ::2] *= -1
    # huge numbers, whose sum is none, are numbers
    check_finite("values", values)
    check_finite("values", torch.full_like(values, torch.finfo(dtype).max))
    values[2, 1, 3] = values[2, 3, 0] = bad
    with pytest.raises(ValueError, match="row 1 of set 2 of values has NaN or infinity"):
        check_finite("values", values)
    with pytest.raises(ValueError, match="row 1 of values has"):
        check_finite("values", values[2])
    # infinities of both signs have no sum either
    values[0, 0, 0] = -bad
    with pytest.raises(ValueError, match="row 0 of set 0"):
        check_finite("values", values)


def test_nothing_is_finite() -> None:
    for shape in ((0, 3), (3, 0), (0, 4, 5)):
        check_finite("values", torch.zeros(shape))
    raise_pending()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_not_waited_for() -> None:
    features = torch.randn(64, 32, device="cuda")
    quality = torch.ones(64, device="cuda")
    raise_pending()
    farthest_point(features, 8)
    dpp_map(features, quality, 8)
    torch.cuda.set_sync_debug_mode("error")
    try:
        farthest_point(features, 8)
        dpp_map(features, quality, 8)
        features[3, 4] = torch.nan
        picks = farthest_point(features, 8)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert ((picks >= 0) & (picks < 64)).all()
    with pytest.raises(ValueError, match="an earlier call: features have NaN"):
        raise_pending()
    raise_pending()
