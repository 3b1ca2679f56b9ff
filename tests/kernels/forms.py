"""The forms in which kernels are launched: what of a launch decides which machine code it gets.

Triton compiles a kernel anew for other types, for a whole number that is 1 or one of whole 16s, for a tensor that
starts at whole 16 bytes, and for other constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


def forms() -> Iterator[tuple[int, Form]]:
    """Each compute capability with the forms that are launched there, at the shapes of real models.

    The public functions run on tensors of the CPU as far as their launches, which are put down and not made. To be
    called before any primitive is imported, and once in a process: the backend is not put back.
    """
    found: dict[Form, None] = {}
    device = [0]

    def put_down(kernel: _backend.LazyKernel, grid: object, arguments: tuple[object, ...], constants: dict) -> None:
        found[form_of(kernel, arguments, constants)] = None

    _backend.LazyKernel.run = put_down
    _backend.use_triton = lambda tensor, backend: True
    _backend.is_interpreting = lambda: False
    _backend.limits = lambda tensor: _backend.Limits(divmod(device[0], 10), SHARED[device[0]])
    # what no kernel fills in holds places that can be looked up
    torch.empty = torch.zeros
    for device[0] in SHARED:
        found.clear()
        for call in calls():
            call()
        yield from ((device[0], form) for form in found)


def calls() -> list[Callable[[], object]]:
    """Every kernel as its callers use it: float32, bfloat16 and both, narrow and wide, one of something and many."""
    from prunekernels.attention_received import attention_received
    from prunekernels.bipartite_merge import bipartite_merge
    from prunekernels.dpp_map import dpp_map
    from prunekernels.el2n import el2n
    from prunekernels.farthest_point import farthest_point
    from prunekernels.max_cosine import max_cosine
    from prunekernels.page_rank import page_rank
    from prunekernels.token_stats import token_stats

    zeros, half, found = torch.zeros, torch.bfloat16, []
    labels = zeros(64, dtype=torch.int64)
    for n, dtype in ((10, torch.float32), (50_000, half)):
        found.append(lambda n=n, dtype=dtype: el2n(zeros(64, n, dtype=dtype), labels, backend="triton"))
    # many slices, one slice (many tokens, few words), and a head of another dtype than its states
    for tokens, words, mine, other in (
        (64, 1024, half, half), (64, 1024, torch.float32, torch.float32), (64, 60, torch.float32, torch.float32),
        (64, 60, half, half), (64, 1024, half, torch.float32), (64, 1024, torch.float16, torch.float16),
    ):  # fmt: skip
        h, w = zeros(tokens, 576, dtype=mine), zeros(words, 576, dtype=other)
        found.append(lambda h=h, w=w: token_stats(h, w, labels[: len(h)], backend="triton"))
    found.append(lambda: token_stats(zeros(64, 576), zeros(1024, 576), labels, zeros(1024), backend="triton"))
    for dims, mine, other in (
        (64, half, half), (80, half, half), (128, half, half), (256, half, half), (64, torch.float32, torch.float32),
        (128, torch.float32, half), (256, torch.float32, torch.float32),
    ):  # fmt: skip
        q, k = zeros(1, 4, 256, dims, dtype=mine), zeros(1, 2, 256, dims, dtype=other)
        found.append(lambda q=q, k=k: attention_received(q, k, causal=True, backend="triton"))
    # one head, one sample, one position
    found.append(lambda: attention_received(zeros(1, 1, 1, 64), zeros(1, 1, 1, 64), backend="triton"))
    for n in (576, 2880):
        x = zeros(n, 16)
        found.append(lambda x=x: farthest_point(x, 8, backend="triton"))
        found.append(lambda x=x: dpp_map(x, x[:, 0] + 1, 8, backend="triton"))
    for n in (50, 197, 330):
        graph = torch.full((4, n, n), 1 / n)
        found.append(lambda graph=graph: page_rank(graph, 3, backend="triton"))
    found.append(lambda: max_cosine(zeros(256, 64), backend="triton"))
    for n, dtype in ((197, torch.float32), (197, torch.bfloat16), (2048, torch.float16)):
        tokens, metric = zeros(2, n, 768, dtype=dtype), zeros(2, n, 64, dtype=dtype)
        found.append(lambda tokens=tokens, metric=metric: bipartite_merge(tokens, metric, 16, backend="triton"))
    return found
