"""A call's arithmetic is its own, and what surrounds it comes back as it was."""

import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from prunekernels._precision import full_precision, full_precision_with_gradient

ROWS = torch.randn(64, 1024, generator=torch.Generator().manual_seed(0))


def _product(rows: torch.Tensor) -> torch.Tensor:
    return rows @ rows.T


def _settings() -> tuple[object, ...]:
    try:
        common = torch.get_float32_matmul_precision()
    except RuntimeError:
        common = "mixed"
    backends = torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)
    return common, *(getattr(backend, "fp32_precision", None) for backend in backends)


@pytest.fixture(autouse=True)
def _exact_again() -> Iterator[None]:
    yield
    if hasattr(torch.backends, "fp32_precision"):
        torch.backends.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")


def _for_all() -> None:
    torch.backends.fp32_precision = "bf16"


def _for_one() -> None:
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"


def _tf32() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True


@pytest.mark.parametrize("ask", [lambda: torch.set_float32_matmul_precision("medium"), _for_all, _for_one, _tf32])
def test_products_are_exact_and_settings_come_back(ask: Callable[[], None]) -> None:
    if ask in (_for_all, _for_one) and not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("settings for each library came with torch 2.9")
    plain = _product(ROWS)
    ask()
    before = _settings()
    seen = []

    def look(rows: torch.Tensor) -> torch.Tensor:
        seen.extend(_settings())
        return _product(rows)

    assert torch.equal(full_precision(look)(ROWS), plain)
    assert not {"bf16", "tf32", "high", "medium"} & set(seen)
    assert _settings() == before


def test_autocast_and_gradients_stop_at_the_call() -> None:
    plain = _product(ROWS)
    rows = ROWS.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        assert _product(ROWS).dtype == torch.bfloat16
        within = full_precision(_product)(rows)
        differentiable = full_precision_with_gradient(_product)(rows)
        assert torch.is_autocast_enabled("cpu")
        assert torch.is_grad_enabled()
    assert torch.equal(within, plain)
    assert not within.requires_grad
    assert torch.equal(differentiable, plain)
    assert differentiable.requires_grad


def test_an_error_brings_everything_back() -> None:
    torch.set_float32_matmul_precision("medium")
    before = _settings()

    def fail(rows: torch.Tensor) -> torch.Tensor:
        raise ValueError("no")

    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(ValueError, match="no"):
            full_precision(fail)(ROWS)
        assert torch.is_autocast_enabled("cpu")
    assert _settings() == before
    assert torch.is_grad_enabled()


def test_threads_do_not_undo_each_other() -> None:
    torch.set_float32_matmul_precision("medium")
    before, plain = _settings(), full_precision(_product)(ROWS)
    first_is_in, first_is_out = threading.Event(), threading.Event()
    results = []

    def outer(rows: torch.Tensor) -> None:
        first_is_in.set()
        assert second_is_in.wait(10)

    second_is_in = threading.Event()

    def inner(rows: torch.Tensor) -> torch.Tensor:
        second_is_in.set()
        assert first_is_out.wait(10)
        return _product(rows)

    def first() -> None:
        full_precision(outer)(ROWS)
        first_is_out.set()

    def second() -> None:
        assert first_is_in.wait(10)
        results.append(full_precision(inner)(ROWS))

    threads = [threading.Thread(target=run) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert torch.equal(results[0], plain)
    assert _settings() == before
