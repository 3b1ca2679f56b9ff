"""The rows of a pruned corpus on disk: kept ones, dropped ones with notes, and lists of what was kept.

A file a side, or shards of it: kept/00000.jsonl, dropped/00000.jsonl and so on (shards.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datapruner.corpus.bad_rows import SkipCallback
from datapruner.corpus.chunks import Chunk
from datapruner.corpus.format import Note, RowWriter
from datapruner.corpus.formats._converted import schema_of
from datapruner.corpus.formats._schema import joint_schema
from datapruner.corpus.fragments import Fragment, becomes_table, open_writer
from datapruner.corpus.source import Source
from datapruner.scoring import progress
from datapruner.selection.selection import Selection

if TYPE_CHECKING:
    import pyarrow as pa

KEPT_ROWS, KEPT_UIDS, KEPT_WEIGHTS = "kept_rows.npy", "kept_uids.txt", "kept_weights.npy"


@dataclass(frozen=True)
class RowFiles:
    """Where and how rows are written: into `folder`, files that end in `suffix` ("": folders of images).

    `dropped`: the dropped rows too; `noted`: kept rows have notes as dropped ones have. `schema` is that of the table
    which lines become.
    """

    folder: Path
    suffix: str
    dropped: bool = True
    noted: bool = False
    schema: pa.Schema | None = None

    def name(self, side: str, in_shards: bool = False) -> str:
        """The file of the rows of one side, "kept" or "dropped", or the folder of its shards."""
        return side if in_shards else f"{side}{self.suffix}"

    def path(self, side: str, shard: int | None) -> Path:
        """Where that file is, or shard number `shard` of it."""
        return self.folder / (self.name(side) if shard is None else f"{side}/{shard:05d}{self.suffix}")


@dataclass(frozen=True)
class Callbacks:
    """Who hears of the rows on the way: `on_chunk` of each chunk, or at least of those with the row numbers `wanted`,
    int64 ascending; `on_skip` of rows that cannot be used."""

    on_chunk: Callable[[Chunk], None]
    on_skip: SkipCallback
    wanted: np.ndarray


@contextmanager
def row_writer(
    fragments: Sequence[Fragment], selection: Selection, files: RowFiles, shard: int | None = None
) -> Iterator[Callable[[Chunk, int, int], None]]:
    """What writes those rows of a chunk that have the numbers from one up to another; files are whole at the end."""
    kinds = {**dict.fromkeys(selection.scores, "float"), **_kinds(selection)}
    with ExitStack() as stack:
        writers: list[tuple[bool, RowWriter, bool]] = []
        for side, has_notes in (("kept", files.noted), *([("dropped", True)] if files.dropped else ())):
            opened = _writer(fragments, files.path(side, shard), kinds if has_notes else None, files.schema)
            writers.append((side == "kept", stack.enter_context(opened), has_notes))

        def write(chunk: Chunk, first: int, end: int) -> None:
            first, end = max(first, chunk.start), min(end, chunk.start + len(chunk.rows))
            stays = selection.codes[first:end] < 0
            for is_kept, writer, has_notes in writers:
                rows = (np.flatnonzero(stays == is_kept) + first - chunk.start).tolist()
                if is_kept or rows:
                    writer.write(chunk.rows, rows, _notes(selection, chunk, rows) if has_notes else None)

        yield write


def write_rows(source: Source, selection: Selection, files: RowFiles, callbacks: Callbacks) -> None:
    """Write the rows of `source`, a file a side."""
    if becomes_table(source.files()[0], files.suffix):
        found = ((chunk.rows.location(0), schema_of(chunk.rows)) for chunk in source.raw_chunks())
        files = dataclasses.replace(files, schema=joint_schema(found))
    end = 0
    with row_writer(source.files(), selection, files) as write, progress.display() as shown:
        bar = progress.Bar(shown, "writing", selection.n_rows)
        for chunk in source.raw_chunks(on_skip=callbacks.on_skip):
            end = chunk.start + len(chunk.rows)
            with bar.working(end):
                callbacks.on_chunk(chunk)
                if end > selection.n_rows:
                    break
                write(chunk, 0, end)
    check_count(selection, end)


def check_count(selection: Selection, rows: int) -> None:
    """Raise ValueError unless the corpus has so many rows."""
    if rows != selection.n_rows:
        raise ValueError(f"want the {selection.n_rows} rows that were selected from, got {rows}")


def write_weights(selection: Selection, folder: Path) -> None:
    """Write the weights of the kept rows, float32 in their order, into `folder`, where a selector gave any."""
    if selection.weights is not None:
        np.save(folder / KEPT_WEIGHTS, selection.weights[selection.kept].astype(np.float32), allow_pickle=False)


def write_index(selection: Selection, folder: Path) -> None:
    """Write the row numbers of the kept rows (int64) and their uids, one a line, into `folder`."""
    np.save(folder / KEPT_ROWS, selection.kept, allow_pickle=False)
    with open(folder / KEPT_UIDS, "w", encoding="utf-8", newline="\n") as file:
        for start, names in _uids(selection):
            for row in np.flatnonzero(selection.codes[start : start + len(names)] < 0).tolist():
                if names[row].splitlines() not in ([], [names[row]]):
                    wanted = f"want uids without line breaks for {KEPT_UIDS}"
                    raise ValueError(f"{wanted}, got {names[row]!r} in row {start + row}: write without an index")
                file.write(names[row] + "\n")


@contextmanager
def _writer(
    like: Sequence[Fragment], path: Path, noted: Mapping[str, str] | None, schema: pa.Schema | None
) -> Iterator[RowWriter]:
    """A writer that is closed; where something failed, a failing close does not hide it."""
    writer = open_writer(like, path, noted, schema)
    try:
        yield writer
    except BaseException:
        with suppress(OSError, ValueError):
            writer.close()
        raise
    writer.close()


def _uids(selection: Selection) -> Iterator[tuple[int, list[str]]]:
    """The uids of all rows, some at a time, each with the number of its first row."""
    step = 1 << 16
    for start in range(0, selection.n_rows, step):
        yield start, selection.uid_range(start, min(start + step, selection.n_rows))


def _notes(selection: Selection, chunk: Chunk, indices: Sequence[int]) -> list[Note]:
    names = selection.uid_range(chunk.start, chunk.start + len(chunk.rows))
    said = selection.said(chunk.start, chunk.start + len(chunk.rows))
    notes = []
    for index in indices:
        row = chunk.start + index
        # the shortest decimal that reads back as this float32
        # rows dropped before a sum of ranks was taken have none
        scores: dict[str, object] = {
            n: float(str(values[row])) for n, values in selection.scores.items() if not np.isnan(values[row])
        }
        details = {name: values[index] for name, values in said.items() if values[index] not in (None, "")}
        notes.append(Note(row, names[index], selection.reason(row) or "", {**scores, **details}))
    return notes


def _kinds(selection: Selection) -> dict[str, str]:
    """What Arrow calls the values of each detail."""
    return {name: str(column.block(0).type) for name, column in selection.details.items()}
