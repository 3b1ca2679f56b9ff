"""The rows of a pruned corpus on disk: kept ones, dropped ones with notes, and lists of what was kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from datapruner.corpus import bad_rows
from datapruner.corpus.bad_rows import SKIPPED, SkippedFile
from datapruner.corpus.chunks import Chunk
from datapruner.corpus.format import Note, RowWriter
from datapruner.corpus.fragments import Fragment, open_writer, output_suffix
from datapruner.corpus.source import Source
from datapruner.scoring import progress
from datapruner.selection.selection import Selection

ChunkCallback = Callable[[Chunk], None]
KEPT_ROWS, KEPT_UIDS, KEPT_WEIGHTS = "kept_rows.npy", "kept_uids.txt", "kept_weights.npy"


def kept_name(source: Source) -> str:
    """What the file of the kept rows is called, or the folder of the kept images."""
    return f"kept{output_suffix(source.files()[0])}"


def write_rows(source: Source, selection: Selection, folder: Path, dropped: bool, on_chunk: ChunkCallback) -> None:
    """Write the kept rows of `source` into `folder`, the `dropped` ones where asked for; `on_chunk` sees each chunk."""
    files, end = source.files(), 0
    skipped = bad_rows.ignore if source.on_error == "refuse" else SkippedFile(folder / SKIPPED).add
    with ExitStack() as stack:
        kept = stack.enter_context(_writer(files, folder / kept_name(source)))
        others = None
        if dropped:
            noted = {**dict.fromkeys(selection.scores, "float"), **_kinds(selection)}
            others = stack.enter_context(_writer(files, folder / f"dropped{output_suffix(files[0])}", noted))
        with progress.display() as shown:
            bar = progress.Bar(shown, "writing", selection.n_rows)
            for chunk in source.raw_chunks(on_skip=skipped):
                end = chunk.start + len(chunk.rows)
                with bar.working(end):
                    on_chunk(chunk)
                    stays = selection.codes[chunk.start : end] < 0
                    kept.write(chunk.rows, np.flatnonzero(stays).tolist())
                    goes = np.flatnonzero(~stays).tolist()
                    if others is not None and goes:
                        others.write(chunk.rows, goes, _notes(selection, chunk, goes))
    if end != selection.n_rows:
        raise ValueError(f"want the {selection.n_rows} rows that were selected from, got {end}")


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
def _writer(like: Sequence[Fragment], path: Path, noted: Mapping[str, str] | None = None) -> Iterator[RowWriter]:
    """A writer that is closed; where something failed, a failing close does not hide it."""
    writer = open_writer(like, path, noted)
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
