"""The passes over the corpus that score what is missing in a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from datapruner import progress
from datapruner.extras import require
from datapruner.scorer import NOTHING, Batch, Scorer, State
from datapruner.source import Chunk, Source
from datapruner.table import ROWS, ScoreTable


def fill_columns(source: Source, table: ScoreTable, scorers: dict[str, Scorer]) -> None:
    """Write the parts of the columns `scorers` that are not there: one pass for all that need no other column."""
    for stage in _stages(scorers):
        with progress.display() as shown:
            states = {name: _state(source, table, stage, name, shown) for name in stage}
            _score(source, table, stage, states, shown)
        for name in stage:
            table.manifest["columns"][name]["complete"] = True
        table.save()


def _stages(scorers: dict[str, Scorer]) -> Iterator[dict[str, Scorer]]:
    """`scorers` in groups: each reads vectors only of columns before it, or that are made already."""
    left = dict(scorers)
    while left:
        ready = {name: scorer for name, scorer in left.items() if not left.keys() & set(scorer.vectors())}
        if not ready:
            raise ValueError(f"columns that read each other: {', '.join(sorted(left))}")
        yield ready
        left = {name: scorer for name, scorer in left.items() if name not in ready}


def _state(
    source: Source, table: ScoreTable, scorers: Mapping[str, Scorer], name: str, shown: progress.Display
) -> State:
    """What `fit` found, now or in an earlier run; it is on disk before the first score."""
    scorer = scorers[name]
    if type(scorer).fit is Scorer.fit:
        return NOTHING
    if not table.has_state(name):
        table.write_state(name, scorer.fit(Corpus(source, table, shown, name, scorer)))
    return table.state(name)


def _score(
    source: Source,
    table: ScoreTable,
    scorers: Mapping[str, Scorer],
    states: Mapping[str, State],
    shown: progress.Display,
) -> None:
    waiting = {name: table.missing_parts(name) for name in scorers}
    bars = {name: progress.Bar(shown, name, table.n_rows) for name in scorers}
    for chunk in source.raw_chunks(whole=False, more=_fields(table, scorers)):
        end = chunk.start + len(chunk.rows)
        todo = [name for name in scorers if chunk.index in waiting[name]]
        batch = batch_of(source, table, chunk, {name: scorers[name] for name in todo}) if todo else None
        for name, bar in bars.items():
            if batch is None or name not in todo:
                bar.skip(end)
                continue
            with bar.working(end):
                write_scores(table, name, chunk.index, scorers[name].checked(batch, states[name]),
                             scorers[name].details(batch, states[name]))  # fmt: skip


class Corpus:
    """The rows of a table as batches for one scorer's `fit`; each iteration reads the source anew."""

    def __init__(self, source: Source, table: ScoreTable, shown: progress.Display, name: str, scorer: Scorer) -> None:
        self.source, self.table, self.shown, self.name, self.scorer = source, table, shown, name, scorer

    def __iter__(self) -> Iterator[Batch]:
        bar = progress.Bar(self.shown, f"{self.name}: fit", self.table.n_rows)
        for chunk in self.source.raw_chunks(whole=False, more=_fields(self.table, {self.name: self.scorer})):
            with bar.working(chunk.start + len(chunk.rows)):
                yield batch_of(self.source, self.table, chunk, {self.name: self.scorer})


def batch_of(source: Source, table: ScoreTable, chunk: Chunk, scorers: Mapping[str, Scorer]) -> Batch:
    """The rows of `chunk` with all that `scorers` ask for; raises ValueError where the source has none of it."""
    for name, scorer in scorers.items():
        _check_needs(source, name, scorer)
    parsed = source.parsed(chunk)
    rows = np.arange(chunk.start, chunk.start + len(chunk.rows), dtype=np.int64)
    names = table.read_part(ROWS, chunk.index, "uid").to_pylist()
    if len(names) != len(rows):
        raise ValueError(f"{table.part(ROWS, chunk.index)}: want {len(rows)} rows, got {len(names)}")
    vectors = {name: source.vectors(chunk, name) for name in _fields(table, scorers)}
    made = {name for scorer in scorers.values() for name in scorer.vectors()} - vectors.keys()
    vectors |= {name: table.vectors(name, chunk.index) for name in made}
    return Batch(rows, names, parsed.texts, parsed.groups, parsed.labels, None, vectors)


def _fields(table: ScoreTable, scorers: Mapping[str, Scorer]) -> list[str]:
    """The vectors that `scorers` read and that are no column of the table: fields of the source."""
    wanted = dict.fromkeys(name for scorer in scorers.values() for name in scorer.vectors())
    return [name for name in wanted if name not in table.vector_columns]


def _check_needs(source: Source, name: str, scorer: Scorer) -> None:
    if "labels" in scorer.needs and source.label is None:
        raise ValueError(f"{name} wants labels: name their field, as in Source(..., label='label')")


def write_scores(
    table: ScoreTable, name: str, chunk: int, scores: np.ndarray, details: Mapping[str, np.ndarray]
) -> None:
    """Write one part of a column; a vector is a list of one length."""
    pa = require("pyarrow")
    if scores.ndim == 2:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(scores.reshape(-1)), scores.shape[1])
        table.write_part(name, chunk, pa.table({"vector": vectors, **details}))
    else:
        table.write_part(name, chunk, pa.table({"score": scores, **details}))
