"""What a run would do, and an estimate of what it costs, measured on the first rows; changes nothing."""

from __future__ import annotations

import dataclasses
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

from datapruner.corpus.formats.image_folder import ImageFolder
from datapruner.corpus.fragments import Fragment, output_suffix
from datapruner.corpus.remote_files import RemoteFile
from datapruner.corpus.source import Source
from datapruner.recipe.cost_sample import CostSample
from datapruner.recipe.output_check import check_output
from datapruner.recipe.recipe import Recipe
from datapruner.recipe.steps import select_in_steps
from datapruner.scoring.manifest import MANIFEST
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer_columns import manifest_column, scorers_by_column

# seconds for which rows are counted before their number is estimated
COUNTING = 1.0
# endings of files that are not packed
PLAIN = (".jsonl", ".ndjson", "")


@dataclass(frozen=True)
class ColumnPlan:
    """One column: made already, or what it is estimated to take; `problem` says why that is not known."""

    name: str
    there: bool
    seconds: float | None = None
    measured_on: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class Plan:
    """A run before it is run. `rows` and `kept` are estimates where they are not exact; `kept` None is unknown.

    `replaces` are the paths that would go; `refused` says why nothing would be written.
    """

    files: tuple[tuple[str, int | None], ...]
    rows: int
    rows_exact: bool
    columns: tuple[ColumnPlan, ...]
    table: Path | None
    table_bytes: int
    kept: int | None
    kept_exact: bool
    selects: bool
    replaces: tuple[str, ...] = ()
    refused: str | None = None


def plan(recipe: Recipe) -> Plan:
    """Look at `recipe`, which `with_named_columns` has seen, without running it."""
    files = tuple((fragment.name, size_of(fragment)) for fragment in recipe.source.files())
    path = None if recipe.out is None else recipe.out.table_path
    made = _made(path, files, recipe.source)
    rows, exact = count_rows(recipe.source) if made is None else (made.n_rows, True)
    columns = scorers_by_column(recipe.all_scorers)
    there = set() if made is None else columns.keys() & {*made.columns}
    for name in columns.keys() - there:
        # raises what the run would
        manifest_column(columns[name])
    with tempfile.TemporaryDirectory() as folder:
        sample = CostSample(recipe.source, columns, Path(folder))
        costs = []
        for name, scorer in zip(columns, recipe.all_scorers, strict=True):
            cost = None if name in there else sample.cost(scorer)
            costs.append(
                ColumnPlan(name, there=True)
                if cost is None
                else ColumnPlan(name, False, cost.seconds(rows), cost.rows, cost.problem)
            )
        ready = made if made is not None and len(there) == len(columns) else None
        decided = select_in_steps(ready, recipe.select) if ready is not None and recipe.select else None
        kept = sample.kept(recipe.select, rows) if decided is None else decided.n_kept
        size = 0 if ready is not None else round(sample.bytes_a_row() * rows)
    selects, (replaces, refused) = bool(recipe.select), _output(recipe)
    return Plan(files, rows, exact, tuple(costs), path, size, kept, ready is not None, selects, replaces, refused)


def _output(recipe: Recipe) -> tuple[tuple[str, ...], str | None]:
    """What would be replaced, and why nothing would be written."""
    if recipe.out is None or not recipe.select:
        return (), None
    try:
        output = dataclasses.replace(recipe.out, scores=recipe.out.table_path)
        return tuple(check_output(output, recipe.source)), None
    except ValueError as error:
        return (), str(error)


def count_rows(source: Source) -> tuple[int, bool]:
    """Rows of `source` and True; where counting takes long, an estimate from the first rows' bytes and False."""
    started, rows = time.monotonic(), 0
    for chunk in source.raw_chunks(whole=False):
        rows += len(chunk.rows)
        if time.monotonic() - started > COUNTING:
            whole = sum(size_of(fragment) or 0 for fragment in source.files())
            guessed = max(rows, round(whole / _bytes_a_row(source)))
            return (guessed if source.limit is None else min(guessed, source.limit)), False
    return rows, True


def _bytes_a_row(source: Source) -> float:
    """Of the first chunk, as it stands in JSON lines, and as zlib packs it in formats that are packed."""
    contents = next(iter(source.raw_chunks())).rows.contents()
    text = b"\n".join(contents)
    plain = output_suffix(source.files()[0]) in PLAIN
    return max(1, len(text) if plain else len(zlib.compress(text))) / len(contents)


def size_of(fragment: Fragment) -> int | None:
    """Bytes of a file or of a folder's images, None where they are not known."""
    if isinstance(fragment, Path):
        return fragment.stat().st_size
    if isinstance(fragment, ImageFolder):
        return sum((fragment.path / name).stat().st_size for name in fragment.files)
    size = fragment.info().get("size") if isinstance(fragment, RemoteFile) else None
    return size if isinstance(size, int) else None


def _made(path: Path | None, files: tuple[tuple[str, int | None], ...], source: Source) -> ScoreTable | None:
    """The table that the run would go on with, where it was read to its end and its input has the same sizes."""
    if path is None or not (path / MANIFEST).exists():
        return None
    table = ScoreTable(path, source)
    recorded = table.manifest["input"]
    same = [file["bytes"] for file in recorded["files"]] == [size for _, size in files]
    if source.limit is not None:
        same = recorded["fields"].get("limit") == str(source.limit)
    return table if same and table.manifest["rows"] is not None else None
