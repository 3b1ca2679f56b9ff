"""Every primitive with a kernel is tested on both backends, on the GPU where there is one."""

from collections.abc import Callable

import pytest
import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(params=["torch", "triton"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def device() -> torch.device:
    return DEVICE


@pytest.fixture(autouse=True)
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh memory holds NaN or a wild index, so that what a kernel forgets to write shows."""
    empty, empty_like = torch.empty, torch.empty_like

    def poisoned(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def made(*args: object, **options: object) -> torch.Tensor:
            fresh = make(*args, **options)
            return fresh.fill_(
                torch.nan if fresh.is_floating_point() else -(2**40) if fresh.dtype == torch.int64 else 1
            )

        return made

    monkeypatch.setattr(torch, "empty", poisoned(empty))
    monkeypatch.setattr(torch, "empty_like", poisoned(empty_like))
