"""The two passes over the corpus that make a score table: read and check every row, then score what is missing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from datapruner import progress, uids
from datapruner.extras import require
from datapruner.scorer import Batch, Scorer
from datapruner.source import Chunk, Source
from datapruner.table import ROWS, ScoreTable


def read_rows(source: Source, table: ScoreTable) -> None:
    """Read and check every row and give it its uid, before any is scored; write the parts of `rows`."""
    if table.manifest["rows"] is not None:
        return
    chunks = rows = 0
    with progress.display() as shown:
        bar = progress.Bar(shown, "reading", None)
        for chunk in source.identified():
            chunks, rows = chunks + 1, rows + len(chunk.rows)
            with bar.working(rows):
                if not table.part(ROWS, chunk.index).exists():
                    _write_rows(table, chunk)
    if not rows:
        raise ValueError(f"{', '.join(map(str, source.files()))}: want at least one row, got none")
    table.manifest["rows"], table.manifest["chunks"] = rows, chunks
    table.save()


def fill_columns(source: Source, table: ScoreTable, scorers: dict[str, Scorer]) -> None:
    """Write the parts of the columns `scorers` that are not there; all of them in one pass."""
    last = table.manifest["chunks"] or 0
    waiting = {name: [not table.part(name, chunk).exists() for chunk in range(last)] for name in scorers}
    with progress.display() as shown:
        for name, scorer in scorers.items():
            if any(waiting[name]):
                scorer.fit(Corpus(source, table, shown, name))
        bars = {name: progress.Bar(shown, name, table.n_rows) for name in scorers}
        for chunk in source.raw_chunks(whole=False):
            end = chunk.start + len(chunk.rows)
            todo = [name for name in scorers if waiting[name][chunk.index]]
            batch = _batch(source.parsed(chunk), table) if todo else None
            for name, bar in bars.items():
                if batch is None or name not in todo:
                    bar.skip(end)
                    continue
                with bar.working(end):
                    _write_scores(table, name, chunk.index, scorers[name], batch)


class Corpus:
    """The rows of a table as batches; each iteration reads the source anew."""

    def __init__(self, source: Source, table: ScoreTable, shown: progress.Display, name: str) -> None:
        self.source, self.table, self.shown, self.name = source, table, shown, name

    def __iter__(self) -> Iterator[Batch]:
        bar = progress.Bar(self.shown, f"{self.name}: fit", self.table.n_rows)
        for chunk in self.source.chunks():
            with bar.working(chunk.start + len(chunk.rows)):
                yield _batch(chunk, self.table)


def _batch(chunk: Chunk, table: ScoreTable) -> Batch:
    rows = np.arange(chunk.start, chunk.start + len(chunk.rows), dtype=np.int64)
    names = table.read_part(ROWS, chunk.index, "uid").to_pylist()
    if len(names) != len(rows):
        raise ValueError(f"{table.part(ROWS, chunk.index)}: want {len(rows)} rows, got {len(names)}")
    return Batch(rows, names, chunk.texts, chunk.groups)


def _write_rows(table: ScoreTable, chunk: Chunk) -> None:
    pa = require("pyarrow")
    groups = [None] * len(chunk.rows) if chunk.groups is None else chunk.groups
    columns = {
        "row": np.arange(chunk.start, chunk.start + len(chunk.rows), dtype=np.int64),
        "uid": pa.array(chunk.uids, pa.string()),
        "key": uids.hash64(chunk.uids),
        "group": pa.array(groups, pa.string()),
        "characters": np.array([len(text) for text in chunk.texts], dtype=np.int64),
    }
    table.write_part(ROWS, chunk.index, pa.table(columns))


def _write_scores(table: ScoreTable, name: str, chunk: int, scorer: Scorer, batch: Batch) -> None:
    pa = require("pyarrow")
    scores = scorer.checked(batch)
    table.write_part(name, chunk, pa.table({"score": scores, **scorer.details(batch)}))
