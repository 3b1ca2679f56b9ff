"""Selecting from a table of many rows: seconds and peak memory of `select` and `save`, beside plain numpy.

python -m benchmarks.selection                      a hundred million rows
python -m benchmarks.selection --rows 2000000       a first look

The table is drawn, not scored: parts of 2**20 rows with a uid, its key, one of ten groups, a float32 score that
is distinct and one of 16 values. It is deleted afterwards. Every case runs in a process of its own, on files that
are in the page cache; seconds are those of `select` alone, with all it reads. The baseline is what one writes by
hand: the column by pyarrow, argpartition by numpy; it gives neither reasons nor broken ties nor a file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import datapruner
from benchmarks.harness import record
from benchmarks.machine import ROOT
from datapruner.scoring.manifest import ROWS, Column, Input, save_manifest
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer import Scorer
from datapruner.scoring.scorer_columns import manifest_column

PART, GROUPS, VALUES, KEEP = 2**20, 10, 16, 0.3
DISTINCT, TIED = "distinct", "tied"


@dataclasses.dataclass(frozen=True)
class Case:
    """What is selected; `selector` "numpy" is the baseline."""

    selector: str
    by: str
    per: bool = False
    saves: bool = False


@dataclasses.dataclass(frozen=True)
class Row:
    """What a case took."""

    rows: int
    kept: int
    selector: str
    by: str
    groups: int
    seconds: float
    save_seconds: float | None
    peak_gib: float


CASES = (
    Case("numpy", DISTINCT),
    Case("top", DISTINCT, saves=True),
    Case("middle", DISTINCT),
    Case("random", DISTINCT),
    Case("coverage_centric", DISTINCT),
    Case("top", TIED),
    Case("top", DISTINCT, per=True, saves=True),
    Case("middle", DISTINCT, per=True),
    Case("random", DISTINCT, per=True),
    Case("coverage_centric", DISTINCT, per=True),
    Case("top", TIED, per=True),
)


def build(folder: Path, n_rows: int) -> None:
    """Draw a score table of `n_rows` into `folder`, a part at a time."""
    folder.mkdir(parents=True)
    fields = {"text": "text", "uid": None, "group": "group", "label": None}
    described = Input(files=[], fields=fields, chunk_rows=PART, chunk_bytes=2**40)
    table = ScoreTable.create(folder, described)
    for chunk, start in enumerate(range(0, n_rows, PART)):
        n = min(PART, n_rows - start)
        draw = np.random.default_rng(chunk)
        group = pa.array([f"group {number}" for number in range(GROUPS)]).take(pa.array(draw.integers(0, GROUPS, n)))
        columns = {
            "row": np.arange(start, start + n),
            "uid": uids(draw, n),
            "key": draw.integers(0, 2**64, n, np.uint64),
        }
        table.write_part(ROWS, chunk, pa.table({**columns, "group": group, "tokens": draw.integers(1, 2000, n)}))
        table.write_part(DISTINCT, chunk, pa.table({"score": draw.random(n, dtype=np.float32)}))
        table.write_part(TIED, chunk, pa.table({"score": draw.integers(0, VALUES, n).astype(np.float32)}))
    complete: dict[str, Column] = {name: {**manifest_column(Scorer()), "complete": True} for name in (DISTINCT, TIED)}
    save_manifest(folder, {**table.manifest, "rows": n_rows, "chunks": chunk + 1, "columns": complete})


def uids(draw: np.random.Generator, n: int) -> pa.Array:
    """Strings as content hashes give them: 16 hex digits and "-0"."""
    text = np.empty((n, 18), dtype=np.uint8)
    text[:, :16] = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)[draw.integers(0, 16, (n, 16), np.uint8)]
    text[:, 16:] = np.frombuffer(b"-0", dtype=np.uint8)
    ends = np.arange(0, 18 * n + 1, 18, dtype=np.int32)
    return pa.StringArray.from_buffers(n, pa.py_buffer(ends), pa.py_buffer(text))


def run_here(folder: Path, case: Case) -> Row:
    """Measure one case in this process, which has done nothing else."""
    save_seconds = None
    start = time.perf_counter()
    if case.selector == "numpy":
        scores = pq.read_table(folder / case.by, columns=["score"]).column(0).to_numpy()
        n_rows = len(scores)
        n_kept = len(np.argpartition(scores, n_rows - int(KEEP * n_rows))[n_rows - int(KEEP * n_rows) :])
        seconds = time.perf_counter() - start
    else:
        by = None if case.selector == "random" else case.by
        selection = datapruner.select(folder, case.selector, by, KEEP, "group" if case.per else None)
        seconds = time.perf_counter() - start
        n_rows, n_kept = selection.n_rows, selection.n_kept
        if case.saves:
            start = time.perf_counter()
            selection.save(folder / "selection.parquet")
            save_seconds = time.perf_counter() - start
    groups = GROUPS if case.per else 1
    return Row(n_rows, n_kept, case.selector, case.by, groups, seconds, save_seconds, peak_gib())


def peak_gib() -> float:
    """The most memory this process ever held; that of the process which started it does not count."""
    status = Path("/proc/self/status").read_text("utf-8").splitlines()
    (peak,) = (line.split()[1] for line in status if line.startswith("VmHWM:"))
    return int(peak) / 2**20


def run(folder: Path, case: Case) -> Row:
    """Measure one case in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.selection", "--folder", str(folder)]
    command += ["--case", json.dumps(dataclasses.asdict(case))]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    return Row(**json.loads(done.stdout))


def main() -> None:
    """Build, measure, print, record and delete; or measure one case for `run`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("selection-benchmark"),
        help="made and deleted; one that is there is used and stays",
    )
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--no-record", action="store_true")
    given = parser.parse_args()
    if given.case:
        print(json.dumps(dataclasses.asdict(run_here(given.folder, Case(**json.loads(given.case))))))
        return
    made = not given.folder.exists()
    try:
        if made:
            build(given.folder, given.rows)
        rows = []
        for case in CASES:
            rows.append(run(given.folder, case))
            print(json.dumps(dataclasses.asdict(rows[-1])), flush=True)
    finally:
        if made:
            shutil.rmtree(given.folder, ignore_errors=True)
    if not given.no_record:
        record("selection", rows)


if __name__ == "__main__":
    main()
