"""What every benchmark shares: timing, the floors measured in the same run, the record, and the gate on red tests.

Times are milliseconds and come as p20, p50 and p80. Floors are what this device reaches now at copying and at
multiplying, so that a result can be printed as measured time over floor. A record is one JSON object a run,
appended to results/<name>.json; tables for the README are made from it by tables.py.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.machine import ROOT, machine

RESULTS = ROOT / "benchmarks" / "results"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# more than any cache holds, so that rotating through it reads from memory
CACHE_BYTES = 256 * 2**20


@dataclasses.dataclass(frozen=True)
class Timing:
    """Milliseconds a call."""

    p20: float
    p50: float
    p80: float


def input_sets(
    make: Callable[[int], tuple[torch.Tensor, ...]], n_bytes: int = CACHE_BYTES, at_most: int = 32
) -> list[tuple[torch.Tensor, ...]]:
    """Sets of inputs, `make(seed)` each, until they fill `n_bytes` together; at least one."""
    sets = [make(0)]
    size = max(1, sum(item.numel() * item.element_size() for item in sets[0]))
    sets += [make(seed) for seed in range(1, min(at_most, -(-n_bytes // size)))]
    return sets


def measure(
    run: Callable[..., object],
    inputs: Sequence[tuple[object, ...]] = ((),),
    *,
    device: torch.device = DEVICE,
    warmup: int = 3,
    repeats: int = 50,
    seconds: float = 10,
) -> Timing:
    """Time `run(*inputs[i])` for each repeat in turn; after `seconds` no new repeat starts, but 3 are always taken.

    On a GPU a call is timed by events around it, after all earlier work is done. Python's garbage collector is off
    meanwhile, as it is in timeit: what it takes hangs on what else the process holds.
    """
    if not inputs or repeats < 1:
        raise ValueError(f"want inputs and at least 1 repeat, got {len(inputs)} and {repeats}")
    for i in range(warmup):
        run(*inputs[i % len(inputs)])
    once = _cuda_milliseconds if device.type == "cuda" else _cpu_milliseconds
    end, times = time.perf_counter() + seconds, []
    with _no_collector():
        for i in range(repeats):
            if i >= 3 and time.perf_counter() >= end:
                break
            times.append(once(run, inputs[i % len(inputs)]))
    quantiles = torch.tensor(times, dtype=torch.float64).quantile(torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64))
    return Timing(*quantiles.tolist())


@contextmanager
def _no_collector() -> Iterator[None]:
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _cpu_milliseconds(run: Callable[..., object], arguments: tuple[object, ...]) -> float:
    start = time.perf_counter()
    run(*arguments)
    return 1e3 * (time.perf_counter() - start)


def _cuda_milliseconds(run: Callable[..., object], arguments: tuple[object, ...]) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    run(*arguments)
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def copy_bandwidth(device: torch.device = DEVICE, n_bytes: int = 2 * CACHE_BYTES) -> float:
    """Bytes per second of a copy from memory to memory, reads and writes counted."""
    source = torch.ones(n_bytes, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    return 2 * n_bytes / (measure(target.copy_, [(source,)], device=device, repeats=20).p20 / 1e3)


def gemm_rate(dtype: torch.dtype, device: torch.device = DEVICE, n: int | None = None) -> float:
    """FLOP per second of an [n, n] product with itself in `dtype`; n defaults to 8192 on a GPU, 2048 on a CPU."""
    n = n or (8192 if device.type == "cuda" else 2048)
    sets = input_sets(lambda seed: (torch.randn(n, n, device=device).to(dtype),), at_most=4)
    out = torch.empty(n, n, dtype=dtype, device=device)
    timing = measure(lambda a: torch.mm(a, a, out=out), sets, device=device, repeats=20)
    return 2 * n**3 / (timing.p20 / 1e3)


def require_green(test_paths: Sequence[str]) -> None:
    """Run pytest on `test_paths`, relative to the repository; stop the benchmark where they do not pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", *test_paths]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise SystemExit(f"no benchmark on red tests: {' '.join(test_paths)}\n{tail}")


def record(name: str, rows: Sequence[object], folder: Path = RESULTS) -> Path:
    """Append this run's `rows`, dataclasses of numbers, with what they were measured on; whole or not at all."""
    for row in rows:
        if isinstance(row, type) or not dataclasses.is_dataclass(row):
            raise ValueError(f"want rows that are dataclasses, got {type(row).__name__}")
    path = folder / f"{name}.json"
    runs = json.loads(path.read_text("utf-8")) if path.exists() else []
    runs.append({**machine(), "rows": [dataclasses.asdict(row) for row in rows]})  # type: ignore[call-overload]
    text = json.dumps(runs, indent=1, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, suffix=".tmp", delete=False) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
    return path
