"""One process that does the jobs of a stage that are not done, and writes down how each ended.

It leaves by itself after an error that a CUDA context does not survive, and another process goes on. Standard library
only; stage.py has the jobs.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.journal import FAILED, OK, Journal

ROOT = Path(__file__).resolve().parents[2]
Rows = list[tuple[str, object]]


@dataclass(frozen=True)
class Job:
    """`run()` gives rows, dataclasses with the name of their table; does not start with under `seconds` left."""

    name: str
    run: Callable[[], Rows]
    seconds: float


def never() -> bool:
    """What a device that cannot break says."""
    return False


@dataclass(frozen=True)
class Worker:
    """Does jobs on `device` until the clock says options.until, or until `is_broken()` after one of them."""

    journal: Journal
    device: str
    options: argparse.Namespace
    is_broken: Callable[[], bool] = never

    def work(self, jobs: Sequence[Job]) -> None:
        """Those of `jobs` that were asked of this worker, in order, for which there is time."""
        digest, parent = sources(), os.getppid()
        here = {"worker": self.options.name, "device": self.device, "sources": digest, "process": os.getpid()}
        done = self.journal.done(self.device, digest)
        for job in _share(jobs, self.options):
            # without its parent nobody watches the clock
            if job.name in done or os.getppid() != parent:
                continue
            if time.time() + job.seconds > self.options.until:
                print(f"no time left for {job.name}", flush=True)
                continue
            self._run(job, here)
            if self.is_broken():
                sys.stdout.flush()
                os._exit(3)

    def _run(self, job: Job, here: dict[str, object]) -> None:
        self.journal.append({"start": job.name, "time": time.time(), **here})
        start = time.monotonic()
        end: dict[str, object] = {"job": job.name, **here}
        try:
            rows = [[table, dataclasses.asdict(row)] for table, row in job.run()]  # type: ignore[call-overload]
            # what is not a number fails here, and not when the line is written
            json.dumps(rows, allow_nan=False)
            end |= {"status": OK, "rows": rows}
        except Exception as error:  # noqa: BLE001
            # memory, a kernel that does not compile, a result that is wrong: the other jobs are worth their time
            lines = "".join(traceback.format_exception_only(error)).split("\n")
            end |= {"status": FAILED, "rows": [], "error": " / ".join(line for line in lines if line.strip())[:2000]}
        self.journal.append({**end, "time": time.time(), "seconds": round(time.monotonic() - start, 3)})
        print(f"{end['status']}: {job.name} {end.get('error', '')}", flush=True)


def sources(folders: Sequence[str] = ("kernels/prunekernels", "benchmarks")) -> str:
    """A digest of the code that is measured and that measures."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def arguments() -> argparse.Namespace:
    """What __main__.py hands to a worker."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("stage")
    parser.add_argument("--name", required=True)
    parser.add_argument("--until", type=float, required=True)
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[])
    return parser.parse_args()


def _share(jobs: Sequence[Job], options: argparse.Namespace) -> Sequence[Job]:
    asked = [job for job in jobs if not options.only or any(words in job.name for words in options.only)]
    return asked[options.part :: options.parts]
