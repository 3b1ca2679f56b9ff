"""The forms in which kernels are launched: what of a launch decides which machine code it gets.

    python tests/kernels/forms.py 90        those of the models' shapes on a compute capability, one JSON list a line

Triton compiles a kernel anew for other types, for a whole number that is 1 or one of whole 16s, for a tensor that
starts at whole 16 bytes, and for other constants. The public functions run on the CPU as far as their launches.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from prunekernels import _backend

TYPES = {
    torch.float64: "fp64", torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.int64: "i64",
    torch.int32: "i32", torch.int16: "i16", torch.int8: "i8", torch.uint8: "u8", torch.bool: "i1",
}  # fmt: skip

# bytes of shared memory that a program may have (CUDA C++ Programming Guide, table of capabilities)
SHARED = {75: 64 * 1024, 80: 163 * 1024, 86: 99 * 1024, 90: 227 * 1024, 120: 99 * 1024}


class Form(NamedTuple):
    """`arguments` are types, with ":16" where whole 16s are known, or "1"; `constants` are names and values."""

    module: str
    kernel: str
    arguments: tuple[str, ...]
    constants: tuple[tuple[str, int | float | bool], ...]


def form_of(
    kernel: _backend.LazyKernel, arguments: tuple[object, ...], constants: dict[str, int | float | bool]
) -> Form:
    function = kernel.function
    return Form(function.__module__, function.__name__, tuple(map(_type, arguments)), tuple(constants.items()))


def _type(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"*{TYPES[value.dtype]}" + (":16" if value.data_ptr() % 16 == 0 else "")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"want a tensor or a number, got {value!r}")
    if isinstance(value, float):
        return "fp32"
    if value == 1:
        return "1"
    return ("i32" if abs(value) < 2**31 else "i64") + (":16" if value % 16 == 0 else "")


def dump(form: Form) -> str:
    return json.dumps(form)


def load(line: str) -> Form:
    module, kernel, arguments, constants = json.loads(line)
    return Form(module, kernel, tuple(arguments), tuple(map(tuple, constants)))


@contextmanager
def instead_of_running(capability: int, found: dict[Form, None]) -> Iterator[None]:
    """Launches on tensors of the CPU, as on a GPU of `capability`, are put down in `found` and not made."""
    saved = _backend.LazyKernel.run, _backend.use_triton, _backend.limits, _backend.is_interpreting, torch.empty

    def put_down(kernel: _backend.LazyKernel, grid: object, arguments: tuple[object, ...], constants: dict) -> None:
        found[form_of(kernel, arguments, constants)] = None

    _backend.LazyKernel.run = put_down
    _backend.use_triton = lambda tensor, backend: True
    _backend.is_interpreting = lambda: False
    _backend.limits = lambda tensor: _backend.Limits(divmod(capability, 10), SHARED[capability])
    # what no kernel fills in holds places that can be looked up
    torch.empty = torch.zeros
    try:
        yield
    finally:
        (
            _backend.LazyKernel.run, _backend.use_triton, _backend.limits, _backend.is_interpreting, torch.empty
        ) = saved  # fmt: skip
