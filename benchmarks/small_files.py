"""A corpus in many small files and in one: seconds for the same rows, read, scored, selected from and written.

python -m benchmarks.small_files                     1,500 files of 10 rows beside one of 15,000

Each case is a whole `prune` into a new folder. The two are run in turn, and the least of their times counts: whatever
else the machine does only adds. The target is twice the time of one file.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import tempfile
import time
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import datapruner
from benchmarks.harness import record
from datapruner.corpus.formats import parquet

TARGET = 2.0
WORDS = [f"word{number}" for number in range(5000)]


@dataclasses.dataclass(frozen=True)
class Row:
    """What a corpus took in `files` files, and in one."""

    form: str
    scorers: str
    files: int
    rows: int
    seconds: float
    seconds_of_one: float
    table_files: int
    table_files_of_one: int
    row_groups: int | None
    times: float
    within_target: bool


def make(folder: Path, form: str, files: int, rows: int) -> Path:
    """`rows` rows of about 1,200 characters in so many files."""
    draw = random.Random(0)
    table = pa.table(
        {
            "id": [f"d{number}" for number in range(rows)],
            "text": [" ".join(draw.choices(WORDS, k=draw.randint(100, 220))) for _ in range(rows)],
        }
    )
    folder.mkdir()
    each = rows // files
    for number in range(files):
        some, path = table.slice(number * each, each), folder / f"{number:05d}.{form}"
        if form == "parquet":
            pq.write_table(some, path)
        else:
            lines = (f'{{"id": "{row["id"]}", "text": "{row["text"]}"}}\n' for row in some.to_pylist())
            path.write_text("".join(lines))
    return folder


def run(corpus: Path, scorers: list[str], out: Path) -> tuple[float, int]:
    """Seconds of a `prune`, and how many files its table has."""
    # a process of its own would begin without them
    parquet._footer.cache_clear()
    parquet._largest_row.cache_clear()
    started = time.perf_counter()
    source = datapruner.Source(corpus, uid="id")
    datapruner.prune(source, scorers, datapruner.Rule("top", by=scorers[0]), 0.5, datapruner.Output(out, report=False))
    seconds = time.perf_counter() - started
    return seconds, sum(1 for path in Path(f"{out}.scores").rglob("*") if path.is_file())


def case(form: str, files: int, rows: int, repeats: int, scorers: list[str]) -> Row:
    """The corpus in `files` files and in one, in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpora = [make(folder / f"{count}", form, count, rows) for count in (files, 1)]
        found: list[list[tuple[float, int]]] = [[], []]
        # the first round opens what the others have open
        for number in range(repeats + 1):
            for place, corpus in enumerate(corpora):
                found[place].append(run(corpus, scorers, folder / f"out{place}-{number}"))
        seconds = [min(item[0] for item in times[1:]) for times in found]
        kept = folder / "out0-1" / f"kept.{form}"
        groups = pq.ParquetFile(kept).num_row_groups if form == "parquet" else None
        times, (tables, of_one) = seconds[0] / seconds[1], (item[-1][1] for item in found)
        names = ", ".join(scorers)
        return Row(form, names, files, rows, seconds[0], seconds[1], tables, of_one, groups, times, times <= TARGET)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1500)
    parser.add_argument("--rows", type=int, default=15_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scorer", action="append", help="default: length, near_duplicate")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    scorers = options.scorer or ["length", "near_duplicate"]
    rows = [case(form, options.files, options.rows, options.repeats, scorers) for form in ("jsonl", "parquet")]
    for row in rows:
        print(
            f"{row.form}: {row.seconds:.2f} s in {row.files} files, {row.seconds_of_one:.2f} s in one: {row.times:.2f}x"
        )
    print(record("small_files", rows))


if __name__ == "__main__":
    main()
