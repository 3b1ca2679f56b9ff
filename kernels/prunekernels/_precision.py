"""The arithmetic of a call is its own: float32 products and no graph, whatever surrounds it.

Autocast would multiply rows in bfloat16, and so would a process that asked for coarser float32 products (tf32 on a
GPU, bfloat16 on many a CPU): other scores, other picks. A graph would keep matrices for a backward pass that never
comes. Default dtypes and devices are left alone, being the whole process's: every tensor names its own.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# settings under which a product of float32 keeps 24 bits; torch 2.9 gave each library a setting of its own
EXACT = ("ieee", "none", "highest")


def full_precision(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Run `function` without autocast, without gradients, and with float32 products of 24 bits."""
    inside = full_precision_with_gradient(function)

    @functools.wraps(function)
    def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        if not torch.is_grad_enabled():
            return inside(*arguments, **options)
        with torch.no_grad():
            return inside(*arguments, **options)

    return run


def full_precision_with_gradient(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The same for a function that promises a gradient."""

    @functools.wraps(function)
    def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        if torch.compiler.is_compiling():
            # what is traced has no products: those stand in custom ops, which come by here when they run
            return function(*arguments, **options)
        devices = {value.device.type for value in (*arguments, *options.values()) if isinstance(value, torch.Tensor)}
        devices = {device for device in devices | {"cpu"} if torch.is_autocast_enabled(device)}
        with EXACT_PRODUCTS:
            if not devices:
                return function(*arguments, **options)
            with contextlib.ExitStack() as stack:
                for device in devices:
                    stack.enter_context(torch.autocast(device, enabled=False))
                return function(*arguments, **options)

    return run


class ExactProducts:
    """Products of float32 tensors in float32; the process's own settings come back when the last thread is out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._restore: Callable[[], None] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_inside:
                self._restore = _set_exact()
            self._n_inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside and self._restore:
                self._restore()


EXACT_PRODUCTS = ExactProducts()


def _set_exact() -> Callable[[], None] | None:
    """Ask for exact products; returns what undoes it, or None where they are exact already."""
    both = torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)
    libraries: list[Any] = [library for library in both if hasattr(library, "fp32_precision")]
    own = [library.fp32_precision for library in libraries]
    if all(setting in EXACT for setting in own or [torch.get_float32_matmul_precision()]):
        return None
    try:
        common = torch.get_float32_matmul_precision()
    except RuntimeError:
        # the libraries were set one by one, so that there is no common setting
        common = None

    def restore() -> None:
        if common is not None:
            torch.set_float32_matmul_precision(common)
        for library, setting in zip(libraries, own, strict=True):
            library.fp32_precision = "none"
            # what it inherits from the setting for all libraries stays inherited
            if library.fp32_precision != setting:
                library.fp32_precision = setting

    if common is not None:
        torch.set_float32_matmul_precision("highest")
    for library in libraries:
        library.fp32_precision = "ieee"
    return restore
