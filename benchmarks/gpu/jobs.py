"""The jobs of a run by stage: what the card reaches, whether the kernels are right, the cases and prefills, the tests.

A job returns rows as pairs of a table's name and a dataclass; one that raises becomes a row that says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from benchmarks.gpu import prefill
from benchmarks.gpu.checks import Check, checks
from benchmarks.gpu.journal import Journal
from benchmarks.gpu.worker import Job, Rows
from benchmarks.harness import DEVICE, copy_bandwidth, gemm_rate
from benchmarks.kernel_cases import Case
from benchmarks.kernel_checks import UnequalError
from benchmarks.kernel_lists import gpu_cases, small_cases
from benchmarks.kernel_rows import Bench
from benchmarks.machine import ROOT

IS_GPU = DEVICE.type == "cuda"


@dataclass(frozen=True)
class Reach:
    """What the card does now: bytes a second of a copy, FLOP a second of a matrix product."""

    what: str
    rate: float
    unit: str


@dataclass(frozen=True)
class Tests:
    """One file of tests on this device."""

    file: str
    passed: bool
    summary: str
    seconds: float


def jobs(stage: str, journal: Journal, device: str) -> list[Job]:
    """The jobs of `stage`, the most valuable first; small ones where there is no GPU."""
    if stage == "reach":
        products = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}
        found = [Job("reach: copy", _copy, 2)]
        return found + [Job(f"reach: {name}", partial(_product, name, dtype), 2) for name, dtype in products.items()]
    if stage == "checks":
        return [Job(f"check: {check.name}", partial(_rows, "gpu_checks", check), 4) for check in checks()]
    if stage == "cases":
        return _cases(journal, device)
    files = sorted((ROOT / "tests" / "kernels").glob("test_*.py"))
    # the budget's tests need hypothesis and no GPU; compiling ahead of time is for machines without one
    left_out = {"test_budget.py", "test_compiling.py"}
    return [Job(f"tests: {file.name}", partial(_tests, file), 10) for file in files if file.name not in left_out]


def _rows(table: str, job: Check | prefill.Prefill) -> Rows:
    return [(table, job.run())]


def _copy() -> Rows:
    return [("gpu_reach", Reach("copy", copy_bandwidth(n_bytes=2**31 if IS_GPU else 2**26), "bytes/s"))]


def _product(name: str, dtype: torch.dtype) -> Rows:
    was = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    try:
        return [("gpu_reach", Reach(name, gemm_rate(dtype, n=None if IS_GPU else 256), "FLOP/s"))]
    finally:
        torch.backends.cuda.matmul.allow_tf32 = was


def _cases(journal: Journal, device: str) -> list[Job]:
    """Kernels and prefills; each peer is a job of its own, so that one that ends the process is alone."""
    found = [
        Job(f"case: {case.name}, {peer.name}", partial(_case, _beside(case, place), journal, device), 8)
        for case in (gpu_cases() if IS_GPU else small_cases())
        for place, peer in enumerate(case.peers)
    ]
    models = [Job(f"prefill: {job.name}", partial(_rows, "gpu_prefill", job), 15) for job in prefill.prefills()]
    # the heads of the issue come first, then the prefills, then all other cases
    return [*found[:10], *models, *found[10:]]


def _beside(case: Case, place: int) -> Case:
    return replace(case, peers=case.peers[place : place + 1], target=None if place else case.target)


def _case(case: Case, journal: Journal, device: str) -> Rows:
    reached = {name.removeprefix("reach: "): entry for name, entry in journal.ended(device).items() if entry["rows"]}
    rates = {name: reached[name]["rows"][0][1]["rate"] for name in ("copy", "float32", "bfloat16") if name in reached}
    dtypes = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
    bench = Bench(
        rates.get("copy"), {dtype: rates[name] for dtype, name in dtypes.items() if name in rates},
        repeats=50 if IS_GPU else 10, seconds=15,
    )  # fmt: skip
    bench.run(case)
    if bench.wrong:
        raise UnequalError("; ".join([*bench.skipped, *bench.wrong]))
    notes = [word.partition("skipped, ")[2] for word in bench.skipped]
    rows = [replace(row, note="; ".join(filter(None, [row.note, *notes]))) for row in bench.rows]
    return [("gpu_kernels", replace(row, peer=case.peers[0].name)) for row in rows]


def _tests(file: Path) -> Rows:
    start = time.monotonic()
    command = [sys.executable, "-m", "pytest", "--tb=short", "--durations=3", str(file)]
    done = subprocess.run(command, check=False, cwd=ROOT, env={**os.environ}, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).strip().splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    summary = "; ".join([lines[-1] if lines else "", *failed])[:2000]
    return [("gpu_tests", Tests(file.name, done.returncode == 0, summary, time.monotonic() - start))]
