"""Keep the longer texts of a JSONL corpus: datapruner beside `datasets` and datatrove, on one file in one run.

    PYTHONPATH=.:kernels python -m benchmarks.corpus_filter --folder /data/tmp        makes the corpus there
    ... --large      only datapruner, once, on 2 GB: what memory it takes

Every tool runs in a process of its own, three times in turn; seconds are from the call to the last byte, imports
left out; `steps` are those of score, select and write. All of them read, look at each text's length and write what
is kept as JSON lines. Ours also hashes the input, gives every row a uid, keeps the scores as a table and says of
every dropped row why it went; one row of the table writes the dropped rows, too, which the peers have no
counterpart for. Peak memory is the whole process.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from benchmarks.harness import record
from benchmarks.machine import ROOT

LONGER_THAN = 800
REPEATS = 3
ROWS, LARGE_ROWS = 200_000, 2_100_000


@dataclass(frozen=True)
class Row:
    """Rows a second from the first byte read to the last written, the median of three; peak memory in MiB."""

    tool: str
    rows: int
    megabytes: float
    seconds: float
    rows_per_second: float
    peak_mib: float
    kept: int
    steps: dict[str, float]


class Ran(TypedDict):
    """What a process printed."""

    seconds: float
    kept: int
    peak: float
    steps: dict[str, float]


def make_corpus(path: Path, n_rows: int) -> None:
    """`n_rows` texts of 20 to 300 made-up words, about 1 kB a line."""
    draw = random.Random(0)
    syllables = [a + b for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "on", "ur", "est")]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(5000)]
    with open(path, "w", encoding="utf-8") as file:
        for i in range(n_rows):
            text = " ".join(draw.choices(words, k=draw.randint(20, 300)))
            line = {"id": f"doc-{i}", "text": text, "source": draw.choice(["web", "book"]), "meta": {"n": i}}
            file.write(json.dumps(line) + "\n")


def by_datapruner(corpus: Path, out: Path, dropped: bool) -> int:
    import datapruner

    clock = time.perf_counter
    begun = clock()
    table = datapruner.score(corpus, ["length", "random"], out / "scores")
    scored = clock()
    kept = datapruner.select(table, f"threshold:minimum={LONGER_THAN + 1}", by="length")
    selected = clock()
    datapruner.write(corpus, kept, datapruner.Output(out / "pruned", dropped=dropped))
    STEPS.update(score=scored - begun, select=selected - scored, write=clock() - selected)
    return kept.n_kept


def by_datasets(corpus: Path, out: Path) -> int:
    import datasets

    datasets.disable_progress_bars()
    rows = datasets.load_dataset("json", data_files=str(corpus), split="train", cache_dir=str(out / "cache"))
    kept = rows.filter(lambda row: len(row["text"]) > LONGER_THAN)
    kept.to_json(out / "kept.jsonl")
    return len(kept)


def by_datatrove(corpus: Path, out: Path) -> int:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.filters import LambdaFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    steps = [
        JsonlReader(str(corpus.parent), glob_pattern=corpus.name),
        LambdaFilter(lambda document: len(document.text) > LONGER_THAN),
        JsonlWriter(str(out / "kept"), compression=None),
    ]
    LocalPipelineExecutor(steps, tasks=1, logging_dir=str(out / "log")).run()
    written = next((out / "kept").glob("*.jsonl"))
    with open(written, "rb") as file:
        return sum(1 for _ in file)


# seconds of the last call's steps, of tools that have them
STEPS: dict[str, float] = {}
TOOLS: dict[str, Callable[[Path, Path], int]] = {
    "datapruner": lambda corpus, out: by_datapruner(corpus, out, dropped=False),
    "datapruner, dropped rows written too": lambda corpus, out: by_datapruner(corpus, out, dropped=True),
    "datasets: load, filter, to_json": by_datasets,
    "datatrove: local executor": by_datatrove,
}


def child(tool: str, corpus: Path, out: Path) -> None:
    """Warm up on a few rows, so that imports are not counted; then run and print what it took."""
    few = out / "few" / "few.jsonl"
    few.parent.mkdir(parents=True)
    with open(corpus, encoding="utf-8") as file:
        few.write_text("".join(next(file) for _ in range(20)), encoding="utf-8")
    TOOLS[tool](few, out / "warm")
    start = time.perf_counter()
    kept = TOOLS[tool](corpus, out / "real")
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "kept": kept, "peak": peak, "steps": STEPS}))


def run(tool: str, corpus: Path, folder: Path) -> Ran | None:
    """One process; None where the tool is not installed."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "benchmarks.corpus_filter",
        "--folder",
        str(folder),
        "--child",
        tool,
        "--corpus",
        str(corpus),
    ]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        print(f"{tool}: skipped, {done.stderr.strip().splitlines()[-1]}", flush=True)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Run every tool in turn, three times; append the record."""
    parser = argparse.ArgumentParser(description="Filter a corpus with datapruner and its peers.")
    parser.add_argument("--folder", type=Path, required=True, help="where the corpus and the outputs go")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--tool", action="append", help="only these; nothing is recorded then")
    parser.add_argument("--large", action="store_true", help="only datapruner, once, on 2 GB")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.corpus, options.folder / "out")
        return
    if options.large:
        options.rows, tools = LARGE_ROWS, ["datapruner, dropped rows written too"]
    else:
        tools = options.tool or [*TOOLS]
    options.folder.mkdir(parents=True, exist_ok=True)
    corpus = options.folder / f"corpus-{options.rows}.jsonl"
    if not corpus.exists():
        make_corpus(corpus, options.rows)
    found: dict[str, list[Ran]] = {tool: [] for tool in tools}
    for _ in range(1 if options.large else REPEATS):
        for tool, runs in found.items():
            result = run(tool, corpus, options.folder)
            if result is not None:
                runs.append(result)
    rows = [_row(tool, options.rows, corpus, runs) for tool, runs in found.items() if runs]
    if len({row.kept for row in rows}) > 1:
        raise SystemExit(f"the tools keep different rows: {rows}")
    for row in rows:
        print(f"{row.tool}: {row.seconds:.2f} s, {row.rows_per_second:,.0f} rows/s, {row.peak_mib:,.0f} MiB")
    if not options.tool:
        print(record("corpus_large" if options.large else "corpus_filter", rows))
    shutil.rmtree(options.folder / "out", ignore_errors=True)


def _row(tool: str, n_rows: int, corpus: Path, runs: list[Ran]) -> Row:
    seconds = statistics.median(run["seconds"] for run in runs)
    peak, kept = max(run["peak"] for run in runs), runs[0]["kept"]
    steps = {name: statistics.median(run["steps"][name] for run in runs) for name in runs[0]["steps"]}
    return Row(tool, n_rows, corpus.stat().st_size / 1e6, seconds, n_rows / seconds, peak, kept, steps)


if __name__ == "__main__":
    main()
