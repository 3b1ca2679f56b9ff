"""Runs that can be killed at once: imports are done, then every line of stdin forks a `score` in a group of its own.

A line is "<folder> <engine>"; answered are the process and, when it has ended, its exit code.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

from datapruner import Source, score
from prunekernels.extras import require
from tests.datapruner.scoring.engine_scorers import Logged

ROOT = Path(__file__).resolve().parents[3]
# a chunk takes so long
SECONDS = 0.03


class Forker:
    """Starts one run after the other."""

    def __init__(self, corpus: Path, log: Path) -> None:
        paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.datapruner.scoring.forking", str(corpus), str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths},
        )
        self.answered()

    def __enter__(self) -> Forker:
        return self

    def __exit__(self, *_: object) -> None:
        _pipe(self.process.stdin).close()
        self.process.wait(timeout=60)
        _pipe(self.process.stdout).close()

    def start(self, folder: Path, engine: str) -> int:
        """The process that now scores; its number is that of its group too."""
        _pipe(self.process.stdin).write(f"{folder} {engine}\n")
        _pipe(self.process.stdin).flush()
        return int(self.answered())

    def answered(self) -> str:
        """The next line; the exit code is minus the signal where one ended the run."""
        return _pipe(self.process.stdout).readline().strip()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise ValueError("want a process with pipes")
    return pipe


def main(corpus: str, log: str) -> None:
    for module in ("pyarrow.parquet", "rensa", "safetensors.numpy"):
        require(module, "data")
    print("ready", flush=True)
    for line in sys.stdin:
        folder, engine = line.split()
        pid = os.fork()
        if not pid:
            os.setsid()
            score(Source(corpus, chunk_rows=5), ["near_duplicate", Logged(log, SECONDS)], folder, engine)
            os._exit(0)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
