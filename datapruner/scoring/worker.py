"""What scores one chunk at a time, in this process or another one: the unit of work of every engine."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datapruner.corpus.chunk_reader import ChunkReader
from datapruner.corpus.chunks import Chunk, load_chunk_offsets
from datapruner.corpus.source import Source
from datapruner.corpus.uids import hash64_bytes
from datapruner.scoring import progress
from datapruner.scoring.chosen_rows import inside, load_rows
from datapruner.scoring.manifest import ROWS
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer import NOTHING, Batch, Scorer


@dataclass(frozen=True)
class ScoringTask:
    """Which columns of the table `folder` are made from `source`. Can be sent to another process."""

    source: Source
    folder: Path
    scorers: Mapping[str, Scorer]

    def portable(self) -> ScoringTask:
        """The same without what scorers have loaded: each process loads its own."""
        return replace(self, scorers={name: replace(scorer) for name, scorer in self.scorers.items()})


@dataclass(frozen=True)
class ChunkCounts:
    """How much was done of a chunk."""

    rows: int
    tokens: int


class Worker:
    """Writes the parts of the columns of `task`; what `fit` found must be in the table."""

    def __init__(self, task: ScoringTask) -> None:
        self.source, self.scorers = task.source, task.scorers
        self.table = ScoreTable(task.folder)
        self.states = {name: self.table.state(name) if self.table.has_state(name) else NOTHING for name in self.scorers}
        self.rows = {name: load_rows(self.table, name) for name in self.scorers}
        self.offsets = tuple(load_chunk_offsets(task.folder))
        self.read = ChunkReader(self.source, self.offsets, source_fields(self.table, self.scorers))

    def __call__(self, index: int, on_progress: progress.ProgressCallback = progress.ignore) -> ChunkCounts:
        """Write the parts of chunk number `index` that are not there; `on_progress` hears of rows and tokens."""
        todo = {name: scorer for name, scorer in self.scorers.items() if not self.table.part(name, index).exists()}
        if not todo:
            return ChunkCounts(self.table.part_rows(ROWS, index), 0)
        offset = self.offsets[index]
        places = {name: inside(self.rows[name], offset.start, offset.start + offset.rows) for name in todo}
        told = any(type(scorer).details is not Scorer.details for scorer in todo.values())
        if not told and not any(map(len, places.values())):
            # a part without rows has the fields of the others
            for name in todo:
                self.table.write_scores(name, index, np.zeros(0, np.float32), {}, (places[name], offset.rows))
            return ChunkCounts(offset.rows, 0)
        tokens = 0

        def count(rows: float, more: int) -> None:
            nonlocal tokens
            tokens += more
            on_progress(rows, more)

        with self._batch(index, todo) as batch:
            for name, scorer in todo.items():
                at, state = places[name], self.states[name]
                some = batch if len(at) == len(batch) else batch.take(at)
                with progress.share(count, len(batch), len(todo)):
                    scores = scorer.checked(some, state)
                    self.table.write_scores(name, index, scores, scorer.detailed(some, state), (at, len(batch)))
        return ChunkCounts(offset.rows, tokens)

    @contextmanager
    def _batch(self, index: int, scorers: Mapping[str, Scorer]) -> Iterator[Batch]:
        """Chunk number `index` for `scorers`; it is only read from the source where one of them looks at a row."""
        if all(scorer.scores_by_number for scorer in scorers.values()):
            start, uids = self.offsets[index].start, self.table.read_part(ROWS, index, "uid").to_pylist()
            yield Batch(np.arange(start, start + len(uids), dtype=np.int64), uids, [])
            return
        chunk = self.read(index)
        with _placed(chunk):
            yield batch_of(self.source, self.table, chunk, scorers)


@contextmanager
def _placed(chunk: Chunk) -> Iterator[None]:
    """An error says which rows it came from, below its own message."""
    try:
        yield
    except Exception as error:
        end = chunk.start + len(chunk.rows)
        error.add_note(f"while scoring rows {chunk.start + 1} to {end}, which begin at {chunk.rows.location(0)}")
        raise


def portable_error(error: Exception) -> Exception:
    """`error`, or one with the same words where it could not be made again in another process."""
    try:
        # the way that unpickling takes
        copy.copy(error)
    except TypeError:
        other = RuntimeError(f"{type(error).__name__}: {error}")
        for note in getattr(error, "__notes__", ()):
            other.add_note(note)
        return other
    return error


def batch_of(source: Source, table: ScoreTable, chunk: Chunk, scorers: Mapping[str, Scorer]) -> Batch:
    """The rows of `chunk` with all that `scorers` ask for."""
    parsed = source.parsed(chunk)
    names = table.read_part(ROWS, chunk.index, "uid").to_pylist()
    if len(names) != len(chunk.rows):
        raise ValueError(f"{table.part(ROWS, chunk.index)}: want {len(chunk.rows)} rows, got {len(names)}")
    refuse_other_rows(parsed, names)
    made = [name for scorer in scorers.values() for name in scorer.vectors() if name in table.vector_columns]
    keys = table.read_part(ROWS, chunk.index, "key").to_numpy()
    batch = source_batch(source, replace(parsed, uids=names, keys=keys), scorers, made)
    vectors = {**batch.vectors, **{name: table.vectors(name, chunk.index) for name in made}}
    return replace(batch, vectors=vectors).with_keys(keys)


def source_batch(source: Source, parsed: Chunk, scorers: Mapping[str, Scorer], made: Sequence[str] = ()) -> Batch:
    """The rows of `parsed`, with uids, and what `scorers` ask for beside the vector columns `made` of the table."""
    rows = np.arange(parsed.start, parsed.start + len(parsed.rows), dtype=np.int64)
    vectors = dict.fromkeys(name for scorer in scorers.values() for name in scorer.vectors() if name not in made)
    texts = dict.fromkeys(name for scorer in scorers.values() for name in scorer.fields())
    batch = Batch(
        rows,
        parsed.uids,
        parsed.texts,
        parsed.groups,
        parsed.labels,
        parsed.images,
        {name: source.vectors(parsed, name) for name in vectors},
        {name: source.field_texts(parsed, name) for name in texts},
    )
    return batch if parsed.keys is None else batch.with_keys(parsed.keys)


def refuse_other_rows(chunk: Chunk, names: list[str]) -> None:
    """Raise where the rows are not those that were read first: another node may see another file."""
    given = chunk.uids or [f"{key:016x}" for key in hash64_bytes(chunk.contents())]
    for index, (found, name) in enumerate(zip(given, names, strict=True)):
        if found != (name if chunk.uids else name.partition("-")[0]):
            raise ValueError(
                f"{chunk.rows.location(index)}: want the row {name!r} of the table, the input has {found!r}"
            )


def source_fields(table: ScoreTable, scorers: Mapping[str, Scorer]) -> tuple[str, ...]:
    """The fields of the source that `scorers` read: texts, and vectors that are no column of the table."""
    wanted = [name for scorer in scorers.values() for name in scorer.vectors() if name not in table.vector_columns]
    wanted += [name for scorer in scorers.values() for name in scorer.fields()]
    return tuple(dict.fromkeys(wanted))
