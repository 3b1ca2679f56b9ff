"""Which implementation runs, plain torch or a Triton kernel, and the one place where kernels are launched.

"auto" takes Triton for CUDA tensors where it is installed, and torch for everything else. An explicit
"triton" never falls back: it raises where the kernel cannot run. On a CPU kernels run only in Triton's
interpreter, which the environment variable TRITON_INTERPRET=1 switches on before triton is imported.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch

Backend = Literal["auto", "torch", "triton"]

# one look for the package, without importing it: triton's import costs more than all of ours
HAS_TRITON = importlib.util.find_spec("triton") is not None

# programs on the second and third axis of a grid: CUDA C++ Programming Guide, table of capabilities
MAX_AXIS = 65_535


class Limits(NamedTuple):
    """What a device gives a program: its compute capability, and bytes of shared memory."""

    capability: tuple[int, int]
    shared: int


class LazyKernel:
    """A kernel that is handed to triton.jit when it is first launched, so that importing it costs nothing.

    `kernel[grid](*arguments, **constants)` launches it on the device of its tensors, whichever is the current one.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.compiled: Any = None

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return functools.partial(self.launch, grid)

    def launch(self, grid: tuple[int, ...], *arguments: object, **constants: object) -> None:
        """Run `grid` programs; raises ValueError for tensors of several devices and an axis that is too long."""
        if any(programs > MAX_AXIS for programs in grid[1:]):
            raise ValueError(f"want at most {MAX_AXIS} programs past the first axis, got a grid of {grid}")
        tensors = [item for item in arguments if isinstance(item, torch.Tensor)]
        devices = {tensor.device for tensor in tensors}
        if len(devices) != 1:
            raise ValueError(f"want tensors of one device, got {sorted(map(str, devices))}")
        with torch.cuda.device_of(tensors[0]):
            self.run(grid, arguments, constants)

    def run(self, grid: tuple[int, ...], arguments: tuple[object, ...], constants: dict[str, object]) -> None:
        """What a launch does once the device is chosen."""
        if self.compiled is None:
            import triton
            import triton.language as tl

            # the body names `tl`, which its module only imports for type checkers
            self.function.__globals__["tl"] = tl
            self.compiled = triton.jit(self.function)
        self.compiled[grid](*arguments, **constants)


def jit(function: Callable[..., None]) -> LazyKernel:
    """Mark `function` as a Triton kernel; its module must import where Triton is not installed."""
    return LazyKernel(function)


def is_interpreting() -> bool:
    """True where Triton runs its kernels on the CPU."""
    if not HAS_TRITON:
        return False
    import triton

    # triton 3.2 and 3.3 have no knobs and read the environment where a kernel is marked
    if not hasattr(triton, "knobs"):
        return os.environ.get("TRITON_INTERPRET", "0") == "1"
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


def limits(tensor: torch.Tensor) -> Limits:
    """Those of `tensor`'s device; in the interpreter, which has none, those of compute capability 9.0."""
    return _device_limits(tensor.device.index) if tensor.is_cuda else Limits((9, 0), 227 * 1024)


@functools.cache
def _device_limits(device: int) -> Limits:
    import triton

    properties = triton.runtime.driver.active.utils.get_device_properties(device)
    return Limits(torch.cuda.get_device_capability(device), properties["max_shared_mem"])


def next_power_of_2(n: int) -> int:
    """The smallest power of two that is at least `n` and at least 1."""
    return 1 << max(n - 1, 0).bit_length()
