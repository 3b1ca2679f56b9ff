"""Which implementation runs, and that an explicit request never falls back."""

import pytest
import torch

from prunekernels import _backend
from prunekernels.el2n import el2n


def test_auto_takes_torch_on_the_cpu() -> None:
    assert not _backend.use_triton(torch.zeros(1), "auto")
    assert not _backend.use_triton(torch.zeros(1), "torch")


def test_triton_on_the_cpu_needs_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_backend, "is_interpreting", lambda: False)
    with pytest.raises(ValueError, match="wants a CUDA tensor"):
        el2n(torch.zeros(1, 2), torch.zeros(1).long(), backend="triton")


def test_a_missing_triton_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_backend, "HAS_TRITON", False)
    with pytest.raises(ImportError, match=r'pip install "prunekit\[gpu\]"'):
        el2n(torch.zeros(1, 2), torch.zeros(1).long(), backend="triton")
    assert el2n(torch.zeros(1, 2), torch.zeros(1).long()).shape == (1,)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="auto, torch or triton"):
        el2n(torch.zeros(1, 2), torch.zeros(1).long(), backend="cuda")


@pytest.mark.parametrize(("n", "wanted"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (2048, 2048), (2049, 4096)])
def test_next_power_of_2(n: int, wanted: int) -> None:
    assert _backend.next_power_of_2(n) == wanted
