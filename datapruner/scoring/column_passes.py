"""The passes over the corpus that score what is missing in a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from datapruner.corpus.chunk_reader import ChunkReader
from datapruner.corpus.chunks import load_chunk_offsets
from datapruner.corpus.source import Source
from datapruner.scoring import progress
from datapruner.scoring.chosen_rows import inside, load_rows
from datapruner.scoring.engine import Engine
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer import Batch, Scorer
from datapruner.scoring.worker import ScoringTask, batch_of, source_fields
from datapruner.scoring.workspace import WORKSPACE, Workspace


def check_needs(source: Source, scorers: Mapping[str, Scorer]) -> None:
    """Raise ValueError where the source names no field for what a scorer wants of it."""
    for name, scorer in scorers.items():
        for need in scorer.needs:
            if not source.has(need):
                field = need.removesuffix("s")
                raise ValueError(f"{name} wants {need}: name their field, as in Source(..., {field}={field!r})")


def fill_columns(source: Source, table: ScoreTable, scorers: dict[str, Scorer], engine: Engine) -> None:
    """Write the parts of the columns `scorers` that are not there: one pass for all that need no other column.

    A column is said to be complete as soon as it is, whatever is still to do for others.
    """
    for stage in _by_dependency(scorers):
        with progress.display() as shown:
            complete_columns(table, stage)
            for name, scorer in stage.items():
                _fit(source, table, name, scorer, shown)
            _score(ScoringTask(source, table.path, stage), table, engine, shown)
        complete_columns(table, stage)


def complete_columns(table: ScoreTable, names: Iterable[str]) -> None:
    """Say in the manifest which of the columns `names` have all their parts."""
    columns = table.manifest["columns"]
    whole = [name for name in names if not columns[name]["complete"] and not table.missing_parts(name)]
    if whole:
        for name in whole:
            columns[name]["complete"] = True
        table.save()


def _by_dependency(scorers: dict[str, Scorer]) -> Iterator[dict[str, Scorer]]:
    """`scorers` in groups: each reads vectors only of columns before it, or that are made already."""
    left = dict(scorers)
    while left:
        ready = {name: scorer for name, scorer in left.items() if not reads_any(scorer, left)}
        if not ready:
            raise ValueError(f"columns that read each other: {', '.join(sorted(left))}")
        yield ready
        left = {name: scorer for name, scorer in left.items() if name not in ready}


def reads_any(scorer: Scorer, columns: Mapping[str, Scorer]) -> bool:
    """Whether `scorer` reads one of `columns`; a field of the source may be called as a column that has no vectors."""
    return any(name in columns and columns[name].is_vector for name in scorer.vectors())


def _fit(source: Source, table: ScoreTable, name: str, scorer: Scorer, shown: progress.Display) -> None:
    """`fit`, unless an earlier run did: what it finds is on disk before the first score, what it worked with goes."""
    if type(scorer).fit is Scorer.fit:
        return
    workspace = Workspace(table.path / name / WORKSPACE)
    if not table.has_state(name):
        table.write_state(name, scorer.fitted(FitBatches(source, table, shown, name, scorer), workspace))
    workspace.remove()


def _score(task: ScoringTask, table: ScoreTable, engine: Engine, shown: progress.Display) -> None:
    missing = sorted(set().union(*(table.missing_parts(name) for name in task.scorers)))
    bar = progress.Bar(shown, ", ".join(task.scorers), table.n_rows)
    offsets = load_chunk_offsets(table.path)
    bar.skip(table.n_rows - sum(offsets[chunk].rows for chunk in missing))
    bar.begin()
    if missing:
        engine.run(task, missing, bar.move)


class FitBatches:
    """The rows of a table as batches for one scorer's `fit`; each iteration reads the source anew."""

    def __init__(self, source: Source, table: ScoreTable, shown: progress.Display, name: str, scorer: Scorer) -> None:
        self.source, self.table, self.shown, self.name, self.scorer = source, table, shown, name, scorer

    def __iter__(self) -> Iterator[Batch]:
        return self.after(0)

    def after(self, done: int) -> Iterator[Batch]:
        """All but the first `done` batches, which are not read."""
        bar = progress.Bar(self.shown, f"{self.name}: fit", self.table.n_rows)
        offsets, chosen = load_chunk_offsets(self.table.path), load_rows(self.table, self.name)
        places = [inside(chosen, offset.start, offset.start + offset.rows) for offset in offsets]
        batches = [index for index in range(len(offsets)) if len(places[index])]
        read = ChunkReader(self.source, tuple(offsets), tuple(source_fields(self.table, {self.name: self.scorer})))
        bar.skip(sum(offsets[index].rows for index in batches[:done]))
        for index in batches[done:]:
            chunk = read(index)
            with bar.working(chunk.start + len(chunk.rows)):
                batch = batch_of(self.source, self.table, chunk, {self.name: self.scorer})
                yield batch if len(places[index]) == len(batch) else batch.take(places[index])
