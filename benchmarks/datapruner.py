"""datapruner beside its peers, job by job: how good what comes out is, and then what it costs.

    PYTHONPATH=.:kernels python -m benchmarks.datapruner                  all jobs, about ten minutes on two cores
    ... --scale 0.05                                                      a rehearsal; nothing is recorded
    ... --job near --job semantic                                         only these; nothing is recorded

Every job has a process of its own, in which the tools take turns; the better of two rounds counts, so that what a
tool compiles once is left out. CPU seconds are those of all threads and children. Ours go from rows on disk to a table
on disk and a selection with reasons; peers do what they do. A peer that is not installed has a row that says so:
requirements/peers.txt pins them, to be installed with --no-deps beside test.txt.

`times` is the peer's CPU time over ours, `wanted` what it is to be at the least. Where a row is slower than its peer
its note says why. Quality comes as the numbers that `quality` names, in that order.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

# run as a file, Python looks beside it first, and would take this for the package
if __name__ == "datapruner":
    raise ImportError("want benchmarks run from the root of the repository, as in python -m benchmarks.corpus_filter")

from benchmarks.harness import record
from benchmarks.machine import ROOT

if TYPE_CHECKING:
    from benchmarks.data_jobs.comparison import Comparison, Quality, Run

# module and function of each job
JOBS = {
    "coverage": "budgets",
    "strata": "budgets",
    "near": "duplicates",
    "semantic": "duplicates",
    "facility": "objectives",
    "target": "objectives",
    "label_errors": "training",
    "recording": "training",
    "perplexity": "engine",
    "many_files": "engine",
}
ROUNDS = 2


@dataclasses.dataclass(frozen=True)
class Row:
    """One job, us and one peer; seconds are CPU seconds of the better round."""

    job: str
    input: str
    peer: str
    quality: str
    ours: dict[str, float]
    theirs: dict[str, float] | None
    our_seconds: float
    their_seconds: float | None
    times: float | None
    wanted: float | None
    met: bool | None
    note: str


def cpu_seconds() -> float:
    """User and system time of this process and of its children that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def timed(run: Run) -> tuple[Quality, float]:
    """What `run` makes, and the CPU seconds it takes."""
    begun = cpu_seconds()
    quality = run()
    return quality, cpu_seconds() - begun


def compare(comparison: Comparison) -> list[Row]:
    """A row for each peer, all tools taking turns; a peer that cannot run costs its own numbers only."""
    runs = {"": comparison.ours, **{peer.package: peer.run for peer in comparison.peers}}
    found: dict[str, tuple[Quality, float]] = {}
    failed: dict[str, str] = {}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            if name in failed:
                continue
            try:
                quality, seconds = timed(run)
            except Exception as error:
                # ours must run; of a peer the row says what is wrong
                if not name:
                    raise
                failed[name] = why(name, error)
                continue
            found[name] = (quality, min(seconds, found[name][1] if name in found else seconds))
    ours, our_seconds = found[""]
    rows = []
    for peer in comparison.peers:
        theirs, their_seconds = found.get(peer.package) or (None, None)
        times = None if their_seconds is None else their_seconds / our_seconds
        rows.append(
            Row(
                job=comparison.job,
                input=comparison.size,
                peer=called(peer.package),
                quality=" / ".join(ours),
                ours=ours,
                theirs=theirs,
                our_seconds=our_seconds,
                their_seconds=their_seconds,
                times=times,
                wanted=peer.target,
                met=None if times is None or peer.target is None else times >= peer.target,
                note=failed.get(peer.package, peer.note),
            )
        )
    return rows


def why(package: str, error: Exception) -> str:
    """What a peer's row says where it did not run."""
    if isinstance(error, ImportError):
        return f"not installed: pip install {error.name or package}"
    return f"failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]


def called(package: str) -> str:
    """The package with its version, where it has one."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package


def child(job: str, scale: float, out: Path) -> None:
    """One job in this process; its rows as JSON into `out`."""
    function = getattr(importlib.import_module(f"benchmarks.data_jobs.{JOBS[job]}"), job)
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(function(Path(folder), scale))
    out.write_text(json.dumps([dataclasses.asdict(row) for row in rows]), "utf-8")


def run(job: str, scale: float) -> list[Row]:
    """A process for one job; raises SystemExit where ours fails in it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command = [
            sys.executable,
            "-m",
            "benchmarks.datapruner",
            "--child",
            job,
            "--scale",
            str(scale),
            "--out",
            str(out),
        ]
        # peers may stand in a folder on the path
        given = [path for path in [os.environ.get("PYTHONPATH", "")] if path]
        paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), *given])
        done = subprocess.run(
            command, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{job}: {done.stderr[-2000:]}")
        return [Row(**row) for row in json.loads(out.read_text("utf-8"))]


def shown(row: Row) -> str:
    """A row in one line."""
    ours, theirs = (
        "-" if found is None else ", ".join(f"{value:.4g}" for value in found.values())
        for found in (row.ours, row.theirs)
    )
    took = "-" if row.their_seconds is None else f"{row.their_seconds:.2f} s, {row.times:.2f} times"
    verdict = "" if row.met is None else f" ({row.wanted:g} wanted: {'met' if row.met else 'missed'})"
    quality = f"{row.quality}: {ours} against {theirs}"
    return f"{row.job} | {row.peer} | {quality} | {row.our_seconds:.2f} s against {took}{verdict} {row.note}"


def main() -> None:
    """Run every job in turn; append the record where it is a whole one."""
    parser = argparse.ArgumentParser(description="datapruner beside its peers.")
    parser.add_argument("--job", action="append", choices=[*JOBS], help="only these; nothing is recorded then")
    parser.add_argument("--scale", type=float, default=1.0, help="of the inputs' sizes; below 1 nothing is recorded")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.scale, options.out)
        return
    rows: list[Row] = []
    for job in options.job or JOBS:
        begun = time.perf_counter()
        found = run(job, options.scale)
        rows += found
        print("\n".join(shown(row) for row in found), f"[{time.perf_counter() - begun:.0f} s]", flush=True)
    if not options.job and options.scale == 1:
        print(record("datapruner", rows))


if __name__ == "__main__":
    main()
