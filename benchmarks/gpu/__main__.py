"""Everything that a machine with a GPU can tell, in a bounded time: each row is on disk before the next one starts.

    make gpu OUT=folder LIMIT=420 [PEERS=folder of wheels]
    python3 -m benchmarks.gpu folder --limit 420 --peers wheels        the same, from the repository's root

Needs torch, triton, numpy and pytest. Stages: what the card reaches; every kernel in each dtype against torch, twenty
times over; the cases and prefills, the most valuable first; the kernels' tests with what time is left, never as a
gate. Started again with the same folder it goes on. `python -m benchmarks.gpu.merge folder` brings the rows into
benchmarks/results and the pages.

Workers do the jobs (stage.py). This process only watches: it imports no torch, so that nothing that happens on the
GPU can end it, and it kills a worker whose job hangs, or all of them when time is up.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gpu.journal import DIED, OK, TIMEOUT, Journal

ROOT = Path(__file__).resolve().parents[2]
# the tests' processes are not timed against each other, and a check waits for the compiler most of the time
PARALLEL = {"checks": min(4, max(1, (os.cpu_count() or 1) // 4)), "tests": min(4, max(1, (os.cpu_count() or 1) // 4))}
STAGES = ("reach", "checks", "cases", "tests")
# a job that takes longer hangs
JOB_SECONDS = {"reach": 60.0, "checks": 60.0, "cases": 60.0, "tests": 200.0}


# nor does it take longer to import torch and find the card, on disks that were never read
START_SECONDS = 150.0
# seconds between two looks at the workers
POLL = 0.2


@dataclass
class Worker:
    """A process of its own group, with the part of the stage that is its; `name` is like no other run's."""

    process: subprocess.Popen
    part: int
    name: str
    since: float = field(default_factory=time.time)


class Run:
    """One run into one folder, over at `deadline` (seconds of time.time())."""

    def __init__(self, journal: Journal, deadline: float, path: str, only: Sequence[str] = ()) -> None:
        """`path` is the workers' PYTHONPATH, `only` the words of which a job's name has one."""
        self.journal, self.deadline, self.only = journal, deadline, [*only]
        self.environment = {**os.environ, "PYTHONPATH": path}
        self.module = "benchmarks.gpu.stage"
        self.seconds = JOB_SECONDS
        self.has_given_up = False
        log = journal.path.with_name("log.txt")
        # two of them: the workers move the place of the one that they are given
        self.log, self.read = log.open("ab"), log.open("rb")
        self.read.seek(0, os.SEEK_END)
        self.workers: list[Worker] = []

    def stage(self, name: str) -> None:
        """See a stage through, or to the deadline; one worker does it where a card does not take several."""
        self.has_given_up = False
        parts = PARALLEL.get(name, 1)
        self._watch_all(name, parts)
        if self.has_given_up and parts > 1:
            self._watch_all(name, 1)

    def _watch_all(self, name: str, parts: int) -> None:
        self.workers = [self._start(name, part, parts) for part in range(parts)]
        while self.workers and time.time() < self.deadline:
            time.sleep(POLL)
            for worker in list(self.workers):
                if (ended := self._watch(worker, name)) is None:
                    continue
                self.workers.remove(worker)
                if ended:
                    self.workers.append(self._start(name, worker.part, parts))
            self._echo()
        self.close()

    def close(self) -> None:
        """Leave no worker behind."""
        for worker in self.workers:
            _kill(worker.process)
        self.workers = []
        self._echo()

    def _start(self, stage: str, part: int, parts: int) -> Worker:
        # a number of a process would come again on another day
        name = f"{time.time_ns()}.{part}"
        words = ["--name", name, "--until", str(self.deadline), "--part", str(part), "--parts", str(parts)]
        command = [sys.executable, "-m", self.module, str(self.journal.path.parent), stage, *words]
        command += ["--only", *self.only]
        process = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
        )
        return Worker(process, part, name)

    def _watch(self, worker: Worker, stage: str) -> bool | None:
        """None while `worker` is at work; else whether another one should go on in its place."""
        code, latest = worker.process.poll(), self.journal.latest(worker.name)
        began = latest["time"] if latest else worker.since
        if code is None and time.time() - began < (self.seconds[stage] if latest else START_SECONDS):
            return None
        job = latest if latest and "start" in latest else None
        if code == 0 and not job:
            return False
        _kill(worker.process)
        if job:
            words = f"took over {self.seconds[stage]:.0f} s" if code is None else f"ended with {code}"
            here = {key: job[key] for key in ("worker", "device", "sources", "process")}
            end = {"status": TIMEOUT if code is None else DIED, "rows": [], "error": f"the process {words}"}
            self.journal.append({"job": job["start"], **here, **end, "seconds": round(time.time() - began, 3)})
            print(f"{end['status']}: {job['start']}, {end['error']}", flush=True)
            return True
        if latest:
            return True
        self.has_given_up = True
        print(f"given up: {stage}, whose process ends before its first job; see {self.log.name}", flush=True)
        return False

    def _echo(self) -> None:
        """Show what the workers wrote since the last look."""
        sys.stdout.write(self.read.read().decode(errors="replace"))
        sys.stdout.flush()


def _kill(process: subprocess.Popen) -> None:
    """End a worker and what it started; a process that the driver holds is not waited for."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=2)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        return


def unpacked(wheels: Path, into: Path) -> list[str]:
    """Folders for the path with what the wheels in `wheels` hold, which may also hold packages already unpacked."""
    if not wheels.is_dir():
        raise SystemExit(f"want a folder of wheels, got {wheels}")
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as file:
            file.extractall(into)
    return [str(into), str(wheels.resolve())]


def summary(journal: Journal) -> str:
    """How the jobs ended, what failed, and each target beside what was measured."""
    ended = {entry["job"]: entry for entry in journal.entries() if "job" in entry}.values()
    lines = [f"{sum(entry['status'] == OK for entry in ended)} of {len(ended)} jobs went well"]
    lines += [f"  {entry['status']}: {entry['job']}: {entry['error']}" for entry in ended if entry["status"] != OK]
    rows = [row for entry in ended for _, row in entry["rows"]]
    lines += [f"  wrong: {row['kernel']}: {row['note']}" for row in rows if row.get("agrees") is False]
    lines += [f"  not the same bits: {row['kernel']}" for row in rows if row.get("same_bits") is False]
    lines += [f"  red: {row['file']}: {row['summary']}" for row in rows if row.get("passed") is False]
    for row in rows:
        if row.get("target"):
            lines.append(f"  target {row['target']}: {row['case']}: {row['ours_ms']['p50']:.3g} ms")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Run the stages; 0 where there is at least one row."""
    start = time.time()
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description="Measure everything that a GPU can tell.")
    parser.add_argument("out", type=Path, help="the folder for the rows; one that holds some is gone on with")
    parser.add_argument("--limit", type=float, default=420, metavar="SECONDS", help="for the whole run")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="wheels of packages to compare with")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORDS", help="jobs with one of these in their name")
    options = parser.parse_args(words)
    # what ending the processes takes
    deadline = start + options.limit - min(8.0, 0.1 * options.limit)
    journal = Journal(options.out.resolve())
    journal.repair()
    with tempfile.TemporaryDirectory() as folder:
        peers = unpacked(options.peers, Path(folder)) if options.peers else []
        path = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), *peers])
        run = Run(journal, deadline, path, options.only)
        try:
            for stage in options.stages:
                if time.time() < deadline:
                    run.stage(stage)
        finally:
            run.close()
    print(summary(journal))
    print(f"{time.time() - start:.0f} s; rows in {journal.path}")
    return 0 if any(entry.get("rows") for entry in journal.entries()) else 1


if __name__ == "__main__":
    # a run that is told to stop takes its workers along
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
