"""Compiles every kernel for GPUs that need not be there, and prints what each form needs as one JSON object a line.

    python tests/kernels/compiling.py 75 90        compute capabilities, times ten; by default all of forms.SHARED

One that does not compile has an "error" in place of its needs. Runs on every Triton release from 3.2.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

sys.path.insert(0, str(Path(__file__).parent))
from forms import SHARED, Form, forms

NEEDS = re.compile(r"REG:(\d+) STACK:(\d+)")
SUFFIX = ".cubin"
OPTIONS = ("num_warps", "num_stages")


@cache
def _kernel(module: str, name: str) -> triton.JITFunction:
    function = getattr(importlib.import_module(module), name).function
    function.__globals__["tl"] = tl
    return triton.JITFunction(function)


def _source(form: Form) -> ASTSource:
    """The form as Triton's own launch would hand it to its compiler."""
    kernel = _kernel(form.module, form.kernel)
    types = dict(zip(kernel.arg_names, form.arguments, strict=False))
    signature = {name: kind.partition(":")[0] for name, kind in types.items() if kind != "1"}
    values: dict[str, object] = {name: 1 for name, kind in types.items() if kind == "1"}
    values |= {name: value for name, value in form.constants if name not in OPTIONS}
    aligned = [kernel.arg_names.index(name) for name, kind in types.items() if kind.endswith(":16")]
    if triton.__version__ < "3.3":
        from triton.backends.compiler import AttrsDescriptor

        ones = {kernel.arg_names.index(name): 1 for name, kind in types.items() if kind == "1"}
        return ASTSource(kernel, signature, values, AttrsDescriptor.from_hints(dict.fromkeys(aligned, 16) | ones))
    signature |= dict.fromkeys(values, "constexpr")
    ordered = {name: signature[name] for name in kernel.arg_names}
    return ASTSource(kernel, ordered, values, {(place,): [["tt.divisibility", 16]] for place in aligned})


def _needs(cubin: bytes) -> dict[str, int]:
    """Registers of a thread, and the bytes of its stack: what the registers could not hold."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=SUFFIX) as file:
        file.write(cubin)
        file.flush()
        usage = subprocess.run([tool, "-res-usage", file.name], check=True, capture_output=True, text=True).stdout
    registers, stack = NEEDS.findall(usage)[0]
    return {"registers": int(registers), "stack": int(stack)}


def compiled(form: Form, capability: int) -> dict[str, object]:
    """What `form` needs on `capability`, or why it does not compile."""
    options = {name: value for name, value in form.constants if name in OPTIONS}
    try:
        done = triton.compile(_source(form), target=GPUTarget("cuda", capability, 32), options=options)
    # a compiler fails in as many ways as it has parts, and the next form is to be tried
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {error}".strip()}
    return {"shared": done.metadata.shared, **_needs(done.asm["cubin"])}


def main() -> None:
    wanted = [*map(int, sys.argv[1:])] or [*SHARED]
    for capability, form in forms():
        if capability in wanted:
            place = {"capability": capability, "shared_limit": SHARED[capability]}
            print(json.dumps({**place, **form._asdict(), **compiled(form, capability)}), flush=True)


if __name__ == "__main__":
    main()
