"""Every kernel compiles for real GPUs, within their shared memory and registers, on a machine without one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from prunekernels._backend import HAS_TRITON

ROOT = Path(__file__).parents[2]

CAPABILITIES = (75, 80, 86, 90, 120)


@pytest.mark.skipif(not HAS_TRITON, reason="Triton is not installed")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: the kernels' own tests compile them")
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_kernels_compile_and_fit(capability: int, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": str(ROOT / "kernels"), "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "tests/kernels/compiling.py", str(capability)]
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-2000:]
    needs = [json.loads(line) for line in done.stdout.splitlines()]
    source = "".join(path.read_text() for path in ROOT.glob("kernels/prunekernels/*.py"))
    kernels = set(re.findall(r"@jit\ndef (\w+)", source))
    assert {need["kernel"] for need in needs} == kernels
    for need in needs:
        assert "error" not in need, need
        assert need["shared"] <= need["shared_limit"], need
        # a few bytes are places in an array; more are registers that spill in the inner loop
        assert need["stack"] <= 32, need
