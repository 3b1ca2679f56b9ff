"""`write`: the pruned corpus as a folder that appears whole.

    kept.jsonl | kept.parquet        the kept rows as they stood: JSON lines byte for byte, Parquet in its schema
    dropped.jsonl | dropped.parquet  the dropped rows with one more field "prunekit": row, uid, reason, scores
    selection.parquet                the decision for every row
    README.md                        a dataset card with numbers and lineage

Where a row (JSONL) or the schema (Parquet) has a field "prunekit" already, the new one is called "prunekit_2", or
the first number that is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datapruner import card, progress
from datapruner.files import check_new_folder, new_folder
from datapruner.fingerprint import difference, fingerprint
from datapruner.formats import Note, RowWriter
from datapruner.selection import Selection
from datapruner.source import Chunk, Source, as_source, format_of


@dataclass(frozen=True)
class Output:
    """Where and how to write: an existing folder is only replaced with `overwrite`, `dropped` rows are written too.

    `scores` is the folder of the score table that `prune` makes or goes on with; default: `path` + ".scores".
    """

    path: str | Path
    overwrite: bool = False
    dropped: bool = True
    scores: str | Path | None = None


def write(
    source: str | Path | Sequence[str | Path] | Source,
    selection: str | Path | Selection,
    out: str | Path | Output,
) -> Path:
    """Write what `selection` keeps of `source` into the folder `out`, and return it.

    Raises ValueError where the selection is of another input, or `out` is not empty and not to be overwritten.
    """
    source, output = as_source(source), as_output(out)
    selection = selection if isinstance(selection, Selection) else Selection.load(selection)
    reason = difference(selection.input["files"], fingerprint(source))
    if reason is not None:
        raise ValueError(f"the selection is of another input: {reason}")
    files, folder = source.files(), Path(output.path)
    _protect(files, folder)
    suffix = files[0].suffix.lower()
    with new_folder(folder, output.overwrite) as partial:
        _write_rows(source, selection, partial, output.dropped)
        selection.save(partial / "selection.parquet")
        (partial / "README.md").write_text(card.render(selection, f"kept{suffix}"), encoding="utf-8")
    return folder


def as_output(out: str | Path | Output) -> Output:
    """An `Output` from itself or from a path."""
    return out if isinstance(out, Output) else Output(out)


def check_output(output: Output, source: Source) -> None:
    """Raise where `write` would refuse the output, before any work is done for it."""
    scores = [] if output.scores is None else [Path(output.scores)]
    _protect([*source.files(), *scores], Path(output.path))
    check_new_folder(Path(output.path), output.overwrite)


def _protect(files: Sequence[Path], folder: Path) -> None:
    """An output that is replaced must not hold what it is made from."""
    inside = folder.resolve()
    for file in files:
        if file.resolve().is_relative_to(inside):
            raise ValueError(f"the output {folder} holds the input {file}: want another folder")


def _write_rows(source: Source, selection: Selection, partial: Path, dropped: bool) -> None:
    first = source.files()[0]
    make, suffix = format_of(first).Writer, first.suffix.lower()
    kept: RowWriter = make(partial / f"kept{suffix}", first)
    others: RowWriter | None = None
    try:
        if dropped:
            others = make(partial / f"dropped{suffix}", first, [*selection.scores])
        with progress.display() as shown:
            bar = progress.Bar(shown, "writing", selection.n_rows)
            for chunk in source.raw_chunks():
                end = chunk.start + len(chunk.rows)
                with bar.working(end):
                    stays = selection.codes[chunk.start : end] < 0
                    kept.write(chunk.rows, np.flatnonzero(stays).tolist())
                    goes = np.flatnonzero(~stays).tolist()
                    if others is not None and goes:
                        others.write(chunk.rows, goes, _notes(selection, chunk, goes))
    finally:
        kept.close()
        if others is not None:
            others.close()
    if end != selection.n_rows:
        raise ValueError(f"want the {selection.n_rows} rows that were selected from, got {end}")


def _notes(selection: Selection, chunk: Chunk, indices: Sequence[int]) -> list[Note]:
    names = selection.uid_range(chunk.start, chunk.start + len(chunk.rows))
    notes = []
    for index in indices:
        row = chunk.start + index
        # the shortest decimal that reads back as this float32
        scores = {name: float(str(values[row])) for name, values in selection.scores.items()}
        notes.append(Note(row, names[index], selection.reason(row) or "", scores))
    return notes
