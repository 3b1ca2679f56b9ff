"""Linear layers in 8 bits: by hand, near float32, and each token by itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from contextpruner.models.int8_linear import FEWEST, Int8Linear, in_int8


def layer(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, bias=bias)


@torch.inference_mode()
def test_by_hand() -> None:
    own = layer(2, 2)
    own.weight.copy_(torch.tensor([[1.27, 0.5], [-2.0, 2.54]]))
    own.bias.copy_(torch.tensor([0.25, -1.0]))
    # scales of the weight 0.01 and 0.02, of the tokens 0.1 and 1
    found = Int8Linear(own)(torch.tensor([[12.7, -3.04], [2.4, 127.0]]))
    sums = torch.tensor([[127 * 127 - 30 * 50, -127 * 100 - 30 * 127], [2 * 127 + 127 * 50, -2 * 100 + 127 * 127]])
    wanted = sums * torch.tensor([[0.1], [1.0]]) * torch.tensor([0.01, 0.02]) + own.bias
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("shape", [(64,), (5, 64), (2, 7, 64), (1, 1, 64)])
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_it_is_near_float32(shape: tuple[int, ...], bias: bool) -> None:
    own = layer(64, 48, bias=bias)
    values = torch.randn(shape)
    found, wanted = Int8Linear(own)(values), own(values)
    assert found.shape == wanted.shape
    assert 0 < float((found - wanted).norm() / wanted.norm()) < 0.015


@torch.inference_mode()
def test_a_token_gets_the_same_whatever_stands_beside_it() -> None:
    quantized, values = Int8Linear(layer(64, 48)), torch.randn(9, 64)
    alone = quantized(values[3:4])
    # one token with a hundred times as large entries, and one of zeros
    values[5] *= 100
    values[6] = 0
    together = quantized(values)
    torch.testing.assert_close(together[3:4], alone, rtol=0, atol=0)
    torch.testing.assert_close(together[6], quantized.bias)


@torch.inference_mode()
def test_what_is_not_finite_stays_so() -> None:
    values = torch.randn(3, 64)
    values[1, 2] = torch.nan
    found = Int8Linear(layer(64, 48))(values)
    assert found.isfinite().all(1).tolist() == [True, False, True]


def test_a_model_keeps_its_last_word_in_float32() -> None:
    model = nn.Sequential(layer(32, 32), nn.Sequential(nn.GELU(), layer(32, FEWEST)), layer(FEWEST, 2))
    kinds = [type(module) for module in in_int8(model).modules() if not isinstance(module, nn.Sequential)]
    assert kinds == [Int8Linear, nn.GELU, Int8Linear, nn.Linear]


def test_a_torch_without_onednn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(ValueError, match="int8 wants a torch with oneDNN"):
        in_int8(layer(32, 32))
