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

from benchmarks.machine import ROOT, machine, revision

# asked now, before anything runs
revision(ROOT)
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


@dataclasses.dataclass(frozen=True)
class Repeats:
    """Calls before the clock runs and calls that are timed; after `seconds` no new round starts, but 3 always run.

    `cold` pushes the inputs out of a GPU's cache before each call, for jobs whose caller finds them there.
    """

    warmup: int = 3
    repeats: int = 50
    seconds: float = 10
    cold: bool = False


def measure(
    run: Callable[..., object],
    inputs: Sequence[tuple[object, ...]] = ((),),
    *,
    device: torch.device = DEVICE,
    warmup: int = 3,
    repeats: int = 50,
    seconds: float = 10,
) -> Timing:
    """Time `run(*inputs[i])` for each repeat in turn; see Repeats."""
    return quantiles(measure_in_turn([run], inputs, Repeats(warmup, repeats, seconds), device)[0])


def measure_in_turn(
    runs: Sequence[Callable[..., object]],
    inputs: Sequence[tuple[object, ...]],
    rounds: Repeats,
    device: torch.device = DEVICE,
) -> list[list[float]]:
    """Milliseconds of every call of each of `runs`: a round calls each once, so that all see the same weather.

    On a GPU a call is timed by events around it, after all earlier work is done. Python's garbage collector is off
    meanwhile, as it is in timeit: what it takes hangs on what else the process holds.
    """
    if not inputs or rounds.repeats < 1:
        raise ValueError(f"want inputs and at least 1 repeat, got {len(inputs)} and {rounds.repeats}")
    for run in runs:
        for i in range(rounds.warmup):
            run(*inputs[i % len(inputs)])
    is_gpu = device.type == "cuda"
    once = _cuda_milliseconds if is_gpu else _cpu_milliseconds
    flushed = torch.empty(CACHE_BYTES if is_gpu and rounds.cold else 0, dtype=torch.uint8, device=device)
    times: list[list[float]] = [[] for _ in runs]
    end = time.perf_counter() + rounds.seconds
    with _no_collector():
        for i in range(rounds.repeats):
            if i >= 3 and time.perf_counter() >= end:
                break
            for place, run in enumerate(runs):
                if flushed.numel():
                    flushed.zero_()
                # no run finds in a cache what the one before it read
                times[place].append(once(run, inputs[(i + place) % len(inputs)]))
    return times


def quantiles(times: Sequence[float]) -> Timing:
    """p20, p50 and p80 of milliseconds."""
    at = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    return Timing(*torch.tensor(times, dtype=torch.float64).quantile(at).tolist())


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
    """FLOP per second of an [n, n] product with itself in `dtype`; n defaults to 8192 on a GPU, 2048 on a CPU.

    float32 runs as torch is set, which by default does not round to TF32.
    """
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
    return append(name, {**machine(), "rows": [dataclasses.asdict(row) for row in rows]}, folder)  # type: ignore[call-overload]


def append(name: str, run: dict[str, object], folder: Path = RESULTS) -> Path:
    """Append `run`, as `record` makes one, to results/<name>.json; whole or not at all."""
    path = folder / f"{name}.json"
    runs = json.loads(path.read_text("utf-8")) if path.exists() else []
    runs.append(run)
    text = json.dumps(runs, indent=1, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, suffix=".tmp", delete=False) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
    return path
