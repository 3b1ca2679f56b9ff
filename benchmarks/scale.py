"""Rows a second of `score` by each engine, on the same file with the same scorers; the bytes are compared.

python -m benchmarks.scale                              rules on 50 000 drawn rows, SmolLM2-135M on 64 of Wikipedia
python -m benchmarks.scale --rows 2000 --documents 0    a first look, without the model

Seconds are those of the whole call: fingerprint, first pass, fits, the start of workers and the loading of models.
`scoring_rows_per_second` is of a second call for another column of the same table, where fingerprint, start and
loading count, first pass and fits do not. Ray runs already when the time begins; its actors do not. `load` is the
machine's load average over the last minute before a case: above 0 others were at work.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.harness import record
from datapruner import Source, score
from demo.assets import smollm2, wikipedia
from prunekernels.extras import require

ENGINES = ("local:threads=1", "local:workers=2,threads=1", "ray:workers=2")


@dataclasses.dataclass(frozen=True)
class Row:
    """What one case took."""

    scorers: str
    engine: str
    rows: int
    chunks: int
    seconds: float
    rows_per_second: float
    scoring_seconds: float
    scoring_rows_per_second: float
    same_bytes: bool
    load: float


@dataclasses.dataclass(frozen=True)
class Job:
    """A file and the scorers that it is scored by: a first call, and one more column."""

    name: str
    source: Source
    first: list[str]
    then: list[str]
    rows: int


def drawn(path: Path, n: int) -> Path:
    """`n` rows of 20 to 200 words, drawn."""
    draw = random.Random(0)
    words = [f"word{i}" for i in range(20_000)]
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(n):
            file.write(json.dumps({"text": " ".join(draw.choices(words, k=draw.randint(20, 200)))}) + "\n")
    return path


def real(path: Path, n: int) -> Path:
    """The first `n` Wikipedia introductions."""
    path.write_text("".join(json.dumps(row) + "\n" for row in wikipedia()[:n]), encoding="utf-8")
    return path


def jobs(folder: Path, rows: int, documents: int) -> list[Job]:
    """Cheap rules, which show what the engines cost, and a model, which shows what they bring."""
    rules = ["length", "near_duplicate"]
    plain = Source(drawn(folder / "drawn.jsonl", rows), chunk_rows=1024)
    found = [
        Job("length, near_duplicate; then hashed_ngrams:dims=64", plain, rules, ["hashed_ngrams:dims=64"], rows),
    ]
    if documents:
        model = f"perplexity:model={smollm2()},window=256"
        wiki = Source(real(folder / "wikipedia.jsonl", documents), chunk_rows=8)
        found.append(Job("length; then perplexity of SmolLM2-135M", wiki, ["length"], [model], documents))
    return found


def measure(job: Job, folder: Path) -> list[Row]:
    """Each engine in turn."""
    rows = []
    for engine in ENGINES:
        load, out = os.getloadavg()[0], folder / engine.partition(",")[0].replace(":", "-").replace("=", "-")
        start = time.perf_counter()
        score(job.source, job.first, out, engine)
        first = time.perf_counter() - start
        start = time.perf_counter()
        table = score(job.source, [*job.first, *job.then], out, engine)
        then = time.perf_counter() - start
        same = _parts(out) == _parts(folder / "local-threads-1")
        total, chunks = first + then, table.manifest["chunks"] or 0
        rates = (total, job.rows / total, then, job.rows / then)
        rows.append(Row(job.name, engine, table.n_rows, chunks, *rates, same, load))
        print(json.dumps(dataclasses.asdict(rows[-1])), flush=True)
    return rows


def _parts(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--no-record", action="store_true")
    given = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    require("ray", "ray").init(include_dashboard=False, log_to_driver=False, logging_level="error")
    folder, rows = Path(tempfile.mkdtemp()), []
    try:
        for number, job in enumerate(jobs(folder, given.rows, given.documents)):
            rows += measure(job, folder / str(number))
    finally:
        shutil.rmtree(folder)
    if not given.no_record:
        record("scale", rows)


if __name__ == "__main__":
    main()
