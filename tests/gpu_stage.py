"""A worker of benchmarks.gpu whose jobs go wrong in every way, for test_gpu_run.py; it needs no torch."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.journal import Journal
from benchmarks.gpu.worker import Job, Rows, Worker, arguments

DEVICE = "a device"


@dataclass(frozen=True)
class Row:
    value: float


def _row(value: float) -> Rows:
    return [("gpu_tried", Row(value))]


def _raise() -> Rows:
    raise MemoryError("no memory\nof 3 GiB")


def _sleep(seconds: float) -> Rows:
    time.sleep(seconds)
    return _row(seconds)


def _break(folder: Path) -> Rows:
    (folder / "broken").touch()
    raise RuntimeError("an illegal memory access was encountered")


def main() -> None:
    options = arguments()
    folder = options.out
    found = [
        Job("first", lambda: _row(1.0), 0),
        Job("raises", _raise, 0),
        Job("no number", lambda: _row(float("nan")), 0),
        Job("ends the process", lambda: os._exit(9), 0),
        Job("leaves", lambda: sys.exit(0), 0),
        Job("breaks the device", lambda: _break(folder), 0),
        Job("slow", lambda: _sleep(0.5), 0),
        Job("hangs", lambda: _sleep(60), 0),
        Job("long", lambda: _row(2.0), 1000),
        Job("last", lambda: _row(3.0), 0),
    ]
    found = [job for job in found if job.name != "hangs" or options.stage == "checks"]
    journal = Journal(folder)
    if options.stage == "reach":
        raise SystemExit("nothing can be imported")
    machine = {"device": DEVICE, "commit": None, "dirty": True, "threads": 1, "python": "3", "torch": "2", "triton": ""}
    journal.append({"machine": {**machine, "date": "2026-01-01T00:00:00"}, "gpu": True, "stage": options.stage})
    broken = folder / "broken"

    def is_broken() -> bool:
        was = broken.exists()
        broken.unlink(missing_ok=True)
        return was

    Worker(journal, DEVICE, options, is_broken).work(found)


if __name__ == "__main__":
    main()
