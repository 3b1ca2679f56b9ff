"""Which implementation runs: plain torch, or a Triton kernel.

"auto" takes Triton for CUDA tensors where it is installed, and torch for everything else. An explicit
"triton" never falls back: it raises where the kernel cannot run. On a CPU kernels run only in Triton's
interpreter, which the environment variable TRITON_INTERPRET=1 switches on before triton is imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Literal

import torch

Backend = Literal["auto", "torch", "triton"]

# one look for the package, without importing it: triton's import costs more than all of ours
HAS_TRITON = importlib.util.find_spec("triton") is not None


class LazyKernel:
    """A kernel that is handed to triton.jit when it is first launched, so that importing it costs nothing."""

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.compiled: Any = None

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        if self.compiled is None:
            import triton
            import triton.language as tl

            # the body names `tl`, which its module only imports for type checkers
            self.function.__globals__["tl"] = tl
            self.compiled = triton.jit(self.function)
        return self.compiled[grid]


def jit(function: Callable[..., None]) -> LazyKernel:
    """Mark `function` as a Triton kernel; its module must import where Triton is not installed."""
    return LazyKernel(function)


def is_interpreting() -> bool:
    """True where Triton runs its kernels on the CPU."""
    if not HAS_TRITON:
        return False
    import triton

    return bool(triton.knobs.runtime.interpret)


def use_triton(tensor: torch.Tensor, backend: Backend) -> bool:
    """Decide for `tensor`'s device; raises where "triton" was asked for and cannot run."""
    if backend not in ("auto", "torch", "triton"):
        raise ValueError(f"want backend auto, torch or triton, got {backend!r}")
    if backend == "torch":
        return False
    if backend == "auto":
        return tensor.is_cuda and HAS_TRITON
    if not HAS_TRITON:
        raise ImportError('backend="triton" needs Triton: pip install "prunekit[gpu]"')
    if not tensor.is_cuda and not is_interpreting():
        raise ValueError(f'backend="triton" wants a CUDA tensor, got one on {tensor.device}')
    return True


def is_hopper(tensor: torch.Tensor) -> bool:
    """True on a GPU of compute capability 9 or more, whose matrix units take larger tiles before registers spill."""
    return tensor.is_cuda and torch.cuda.get_device_capability(tensor.device)[0] >= 9


def next_power_of_2(n: int) -> int:
    """The smallest power of two that is at least `n` and at least 1."""
    return 1 << max(n - 1, 0).bit_length()
