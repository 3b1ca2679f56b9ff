"""Which implementation runs, and that an explicit request never falls back."""

from contextlib import contextmanager

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


def _copy(source, target, n) -> None:  # type: ignore[no-untyped-def]
    place = tl.program_id(0)  # noqa: F821
    tl.store(target + place, tl.load(source + place))  # noqa: F821


def test_a_launch_is_on_the_device_of_its_tensors(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, device_of = [], torch.cuda.device_of

    @contextmanager
    def watched(tensor: torch.Tensor):
        with device_of(tensor):
            chosen.append(tensor)
            yield
            chosen.append("left")

    monkeypatch.setattr(torch.cuda, "device_of", watched)
    source, target = torch.arange(3, device=device), torch.zeros(3, dtype=torch.int64, device=device)
    _backend.jit(_copy)[(3,)](source, target, 3)
    assert target.tolist() == [0, 1, 2]
    assert chosen[0] is source
    assert chosen[1] == "left"


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_launch_on_another_than_the_current_device() -> None:
    logits, labels = torch.randn(40, 30), torch.arange(30).repeat(2)[:40]
    with torch.cuda.device(0):
        scores = el2n(logits.to("cuda:1"), labels.to("cuda:1"), backend="triton")
    torch.testing.assert_close(scores.cpu(), el2n(logits, labels))


def test_a_launch_wants_one_device_and_axes_that_fit() -> None:
    kernel = _backend.jit(_copy)
    with pytest.raises(ValueError, match=r"one device, got \['cpu', 'meta'\]"):
        kernel[(1,)](torch.zeros(1), torch.zeros(1, device="meta"), 1)
    with pytest.raises(ValueError, match="at most 65535 programs past the first axis"):
        kernel[(1, 65_536)](torch.zeros(1), torch.zeros(1), 1)
