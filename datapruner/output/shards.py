"""Shards: the rows of an output in several files, which several processes write.

Shard number i has the kept rows from the i-th multiple of `Output.shard_rows` on, and the dropped rows between them;
so the files hang on the selection alone and not on who writes them. Each process reads the chunks that it needs by
their places, which the score table has; without it they are found in a pass over the corpus.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from datapruner.corpus.chunk_reader import ChunkReader
from datapruner.corpus.chunks import ChunkOffset, load_chunk_offsets
from datapruner.corpus.formats._converted import schema_of
from datapruner.corpus.formats._schema import joint_schema
from datapruner.corpus.fragments import becomes_table
from datapruner.corpus.source import Source
from datapruner.output.row_files import Callbacks, RowFiles, check_count, row_writer
from datapruner.scoring import progress
from datapruner.scoring.processes import in_processes
from datapruner.scoring.score_table import ScoreTable
from datapruner.selection.selection import Selection

if TYPE_CHECKING:
    import pyarrow as pa

Item = TypeVar("Item")
Result = TypeVar("Result")
ADVICE = "Nothing was written: the same call begins anew, with fewer workers where memory was short"


@dataclass(frozen=True)
class Sharing:
    """Files of `rows` kept rows, written by so many processes; `table` is the score table where it is at hand, `saved`
    the file of the selection, for processes that have none."""

    rows: int
    workers: int
    table: ScoreTable | None
    saved: Path


@dataclass(frozen=True)
class Shard:
    """File number `number` of each side, which has the rows of the corpus from `first` up to `end`."""

    number: int
    first: int
    end: int


def shards_of(selection: Selection, rows: int) -> list[Shard]:
    """Shards of `rows` kept rows each, the last one of what is left."""
    firsts = [0, *selection.kept[rows::rows].tolist()]
    return [Shard(n, *bounds) for n, bounds in enumerate(zip(firsts, [*firsts[1:], selection.n_rows], strict=True))]


def write_shards(source: Source, selection: Selection, files: RowFiles, sharing: Sharing, callbacks: Callbacks) -> None:
    """Write the rows of `source` in shards."""
    read, workers = _chunk_reader(source, selection, sharing.table, callbacks), sharing.workers
    check_count(selection, sum(offset.rows for offset in read.offsets))
    if becomes_table(source.files()[0], files.suffix):
        numbers = range(len(read.offsets))
        found = dict(_each(partial(SchemaFinder, read), SchemaFinder(read), numbers, workers, "chunks"))
        files = dataclasses.replace(files, schema=joint_schema(found[number] for number in numbers))
    for side in ("kept", "dropped")[: 1 + files.dropped]:
        (files.folder / side).mkdir()
    make, here = partial(_shard_writer, read, sharing.saved, files), ShardWriter(read, selection, files)
    with progress.display() as shown:
        bar = progress.Bar(shown, "writing", selection.n_rows)
        bar.begin()
        for shard in _each(make, here, shards_of(selection, sharing.rows), workers, "shards"):
            bar.move(shard.end - shard.first, 0)


def _chunk_reader(source: Source, selection: Selection, table: ScoreTable | None, callbacks: Callbacks) -> ChunkReader:
    """What reads any chunk of `source`, whole; the callbacks have seen what they want when it is there."""
    if table is not None and table.manifest["input"] == selection.input and source.on_error == "refuse":
        made = selection.input
        source = dataclasses.replace(source, chunk_rows=made["chunk_rows"], chunk_bytes=made["chunk_bytes"])
        read = ChunkReader(source, tuple(load_chunk_offsets(table.path)), whole=True)
        starts = [offset.start for offset in read.offsets]
        for number in np.unique(np.searchsorted(starts, callbacks.wanted, "right") - 1).tolist():
            callbacks.on_chunk(read(number))
        return read
    offsets: list[ChunkOffset] = []
    with progress.display() as shown:
        bar = progress.Bar(shown, "looking for chunks", selection.n_rows)
        for chunk in source.raw_chunks(on_skip=callbacks.on_skip):
            with bar.working(chunk.start + len(chunk.rows)):
                callbacks.on_chunk(chunk)
            offsets.append(chunk.offset)
    return ChunkReader(source, tuple(offsets), whole=True)


@dataclass(frozen=True)
class SchemaFinder:
    """The schema of the table that the lines of a chunk become, with the place of the first."""

    read: ChunkReader

    def __call__(self, number: int) -> tuple[int, tuple[str, pa.Schema]]:
        rows = self.read(number).rows
        return number, (rows.location(0), schema_of(rows))


@dataclass(frozen=True)
class ShardWriter:
    """Writes shards, in whichever process."""

    read: ChunkReader
    selection: Selection
    files: RowFiles

    def __call__(self, shard: Shard) -> Shard:
        starts = [offset.start for offset in self.read.offsets]
        first, end = np.searchsorted(starts, shard.first, "right") - 1, np.searchsorted(starts, shard.end)
        with row_writer(self.read.source.files(), self.selection, self.files, shard.number) as write:
            for number in range(first, end):
                write(self.read(number), shard.first, shard.end)
        return shard


def _shard_writer(read: ChunkReader, selection: Path, files: RowFiles) -> ShardWriter:
    return ShardWriter(read, Selection.load(selection), files)


def _each(
    make: Callable[[], Callable[[Item], Result]],
    here: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    called: str,
) -> Iterator[Result]:
    """The work on each of `items`, in this process or in several."""
    return map(here, items) if workers == 1 else in_processes(make, items, workers, 1, called, ADVICE)
