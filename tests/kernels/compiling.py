"""Compiles every kernel for a GPU that need not be there, and prints what each needs as one JSON object a line.

    python tests/kernels/compiling.py 90        the compute capability, times ten

The public functions run on the CPU as far as their launches, which compile instead of running.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from prunekernels import _backend

TYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.int64: "i64", torch.bool: "i1"}
NEEDS = re.compile(r"REG:(\d+) STACK:(\d+)")
SUFFIX, WARPS = ".cubin", 4


def compile_for(target: GPUTarget) -> Callable[[_backend.LazyKernel, tuple[int, ...]], Callable[..., None]]:
    """What stands in for LazyKernel.__getitem__."""

    def bind(kernel: _backend.LazyKernel, grid: tuple[int, ...]) -> Callable[..., None]:
        kernel.function.__globals__["tl"] = tl
        kernel.compiled = kernel.compiled or triton.JITFunction(kernel.function)

        def launch(*arguments: object, num_warps: int = WARPS, **constants: object) -> None:
            source = _source(kernel.compiled, arguments, constants)
            compiled = triton.compile(source, target=target, options={"num_warps": num_warps})
            registers, stack = _needs(compiled.asm["cubin"])
            need = {"shared": compiled.metadata.shared, "registers": registers, "stack": stack}
            print(json.dumps({"kernel": kernel.function.__name__, "constants": repr(constants), **need}), flush=True)

        return launch

    return bind


def _source(kernel: triton.JITFunction, arguments: tuple[object, ...], constants: dict[str, object]) -> ASTSource:
    signature, values, hints = {}, {}, {}
    bound = dict(zip(kernel.arg_names, arguments, strict=False)) | constants
    for place, parameter in enumerate(kernel.params):
        value = bound[parameter.name]
        # a whole number that is 1 is compiled in, and one of whole 16s is known to be, as at a launch
        if parameter.is_constexpr or (isinstance(value, int) and value == 1):
            signature[parameter.name], values[place,] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            signature[parameter.name] = f"*{TYPES[value.dtype]}"
            hints[place,] = [["tt.divisibility", 16]]
        elif isinstance(value, int):
            signature[parameter.name] = "i32"
            if value % 16 == 0:
                hints[place,] = [["tt.divisibility", 16]]
        else:
            signature[parameter.name] = "fp32"
    return ASTSource(kernel, signature, values, hints)


def _needs(cubin: bytes) -> tuple[int, int]:
    """Registers of a thread, and the bytes of its stack: what the registers could not hold."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=SUFFIX) as file:
        file.write(cubin)
        file.flush()
        usage = subprocess.run([tool, "-res-usage", file.name], check=True, capture_output=True, text=True).stdout
    registers, stack = NEEDS.findall(usage)[0]
    return int(registers), int(stack)


def calls() -> list[Callable[[], object]]:
    """Every kernel in the forms that its callers use: float32 and bfloat16, narrow and wide."""
    from prunekernels.attention_received import attention_received
    from prunekernels.dpp_map import dpp_map
    from prunekernels.el2n import el2n
    from prunekernels.farthest_point import farthest_point
    from prunekernels.max_cosine import max_cosine
    from prunekernels.page_rank import page_rank
    from prunekernels.token_stats import token_stats

    zeros, found = torch.zeros, []
    labels = zeros(64, dtype=torch.int64)
    for dtype in (torch.float32, torch.bfloat16):
        for n in (10, 50_000):
            found.append(lambda n=n, dtype=dtype: el2n(zeros(64, n, dtype=dtype), labels, backend="triton"))
        h, w = zeros(64, 576, dtype=dtype), zeros(1024, 576, dtype=dtype)
        found.append(lambda h=h, w=w: token_stats(h, w, labels, backend="triton"))
        for dims in (64, 80, 128, 256):
            q = zeros(1, 4, 256, dims, dtype=dtype)
            found.append(lambda q=q: attention_received(q, q[:, :2], causal=True, backend="triton"))
    for n in (197, 576, 2880):
        x = zeros(n, 16)
        found.append(lambda x=x: farthest_point(x, 8, backend="triton"))
        found.append(lambda x=x: dpp_map(x, x[:, 0] + 1, 8, backend="triton"))
    for n in (50, 197, 330):
        graph = torch.full((4, n, n), 1 / n)
        found.append(lambda graph=graph: page_rank(graph, 3, backend="triton"))
    found.append(lambda: max_cosine(zeros(256, 64), backend="triton"))
    return found


def main() -> None:
    torch.empty = torch.zeros  # what no kernel fills in holds places that can be looked up
    _backend.LazyKernel.__getitem__ = compile_for(GPUTarget("cuda", int(sys.argv[1]), 32))
    # tensors of the CPU will do: nothing is launched. The primitives import these names later, in calls()
    _backend.use_triton = lambda tensor, backend: True
    capability = divmod(int(sys.argv[1]), 10)
    _backend.limits = lambda tensor: _backend.Limits(capability, 227 * 1024)
    for call in calls():
        call()


if __name__ == "__main__":
    main()
