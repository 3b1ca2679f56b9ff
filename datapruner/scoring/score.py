"""`score`: from a corpus to a score table. Goes on where a killed run stopped, chunk by chunk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from datapruner.corpus.background_hash import BackgroundTask
from datapruner.corpus.bad_rows import SKIPPED
from datapruner.corpus.chunks import CHUNKS
from datapruner.corpus.fingerprint import fingerprint, is_on_disk, stamps, unhashed
from datapruner.corpus.fragments import CorpusLike
from datapruner.corpus.remote_outputs import local_path
from datapruner.corpus.source import Source, as_source
from datapruner.scoring.chosen_rows import KeptRows, check_takes_some_rows, row_numbers, save_rows
from datapruner.scoring.column_passes import check_needs, fill_columns, reads_any
from datapruner.scoring.engine import Engine, as_engine
from datapruner.scoring.first_pass import read_rows
from datapruner.scoring.grow_table import drop_columns, grow, is_grown, was_read
from datapruner.scoring.manifest import MANIFEST, ROWS, Column, Input
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer import Scorer
from datapruner.scoring.scorer_columns import manifest_column, manifest_input, scorers_by_column
from prunekernels.io.outputs import LOCK, check_not_input, folder_lock, make_parents
from prunekernels.io.staging import recover_all

# what has not to be scored again for another one
WAYS = {
    "group": 'add the scorer "NAME=group:name=FIELD", and select with per=NAME',
    "tokens": 'add the scorer "NAME=tokens:tokenizer=MODEL", and spend Budget(..., counted_by=NAME)',
}


def score(
    source: CorpusLike | Source,
    scorers: str | Scorer | Sequence[str | Scorer],
    out: str | Path,
    engine: str | Engine = "local",
    rows: KeptRows | Sequence[int] | np.ndarray | None = None,
) -> ScoreTable:
    """Score every row of `source` into the folder `out`; a scorer is an instance or "[name=]method:field=value".

    `engine` says where: "local" is this process, "local:workers=4" so many processes, "ray" a Ray cluster; the
    bytes are the same. `out` is a folder, not a URL. What is there already is not scored again: columns and chunks of a
    finished or killed run are kept, also where more files came behind those of the table; it keeps its size of chunks.
    `rows` are all that the new columns get scores for, a selection or row numbers. Raises ValueError where `out` holds
    scores of another input, or a column of the same name made otherwise.
    """
    source, folder = as_source(source), local_path(out)
    columns, runs = scorers_by_column(scorers), as_engine(engine)
    runs.check()
    source = _in_the_chunks_of(folder, source).listed()
    check_not_input(folder, source.paths())
    check_needs(source, columns)
    before, hashing = stamps(source), BackgroundTask(partial(fingerprint, source))
    # whether a table that is there is of this input must be known first; for a new one the input is hashed meanwhile
    waits = (folder / MANIFEST).exists() or not is_on_disk(source)
    table_input = manifest_input(source, hashing.result() if waits else unhashed(source))
    chosen = None if rows is None else _chosen_rows(folder, columns, rows)
    described = {name: manifest_column(scorer, chosen) for name, scorer in columns.items()}
    _check_folder(folder, table_input, described)
    made = not folder.exists()
    make_parents(folder / MANIFEST)
    with folder_lock(folder, "scoring into it"):
        recover_all(folder)
        if (folder / MANIFEST).exists():
            table_input["files"] = hashing.result()
        table = _open(folder, table_input, described)
        try:
            read_rows(source, table, _register_cheap_columns(table, columns, described), hashing.result)
            _refuse_changed(source, before)
        except (ValueError, OSError):
            _remove_unread_table(table, made)
            raise
        missing = _register(table, columns, described, chosen)
        _fill(source, table, missing, before, runs)
    table.source = dataclasses.replace(source)
    return table


def _in_the_chunks_of(folder: Path, source: Source) -> Source:
    """`source`, read in chunks of the size that the table in `folder` has: it is what every column goes by."""
    if not (folder / MANIFEST).is_file() or not was_read(table := ScoreTable(folder)):
        return source
    made = table.manifest["input"]
    return dataclasses.replace(source, chunk_rows=made["chunk_rows"], chunk_bytes=made["chunk_bytes"])


def _chosen_rows(
    folder: Path, scorers: Mapping[str, Scorer], rows: KeptRows | Sequence[int] | np.ndarray
) -> np.ndarray:
    """The numbers of `rows`; raises ValueError where the table or a scorer has no use for them."""
    check_takes_some_rows(scorers)
    if not (folder / MANIFEST).exists():
        raise ValueError(f"want a table for rows=, got none in {folder}: score a column over all rows first")
    table = ScoreTable(folder)
    if not isinstance(rows, Sequence | np.ndarray):
        table.refuse_other_input(rows.input["files"])
        rows = rows.kept
    return row_numbers(rows, table.n_rows)


def _check_folder(folder: Path, wanted: Input, columns: dict[str, Column]) -> None:
    """Refuse before anything is changed."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"want a folder for the scores, got the file {folder}")
    if (folder / MANIFEST).exists():
        table = ScoreTable(folder)
        if was_read(table):
            _refuse_mismatch(table, wanted, columns)
    elif folder.is_dir():
        # a run that was killed, or that begins just now, may have no more than this
        begun = (LOCK, f".{MANIFEST}.")
        other = sorted(file.name for file in folder.iterdir() if not file.name.startswith(begun))
        if other:
            raise ValueError(f"{folder} is no score table and not empty: it has {other[0]}")


def _settings(described: Input) -> dict[str, str | int | None]:
    """All but the files, which must be the same for a table to go on."""
    return {**described["fields"], "chunk_rows": described["chunk_rows"], "chunk_bytes": described["chunk_bytes"]}


def _refuse_mismatch(table: ScoreTable, wanted: Input, columns: dict[str, Column]) -> None:
    if not is_grown(table, wanted["files"]):
        table.refuse_other_input(wanted["files"])
    made = _settings(table.manifest["input"])
    for key, new in _settings(wanted).items():
        if made.get(key) != new:
            way = f": {WAYS[key]}" if key in WAYS else ""
            raise ValueError(f"{table.path} was made with {key}={made.get(key)!r}, wanted is {key}={new!r}{way}")
    for name, column in columns.items():
        found = table.manifest["columns"].get(name)
        if found is None:
            continue
        for key in ("method", "version", "fields", "identity", "rows"):
            old, new = found[key], column[key]  # type: ignore[literal-required]
            if old != new:
                raise ValueError(
                    f"{table.path} has a column {name!r} with {key} {old}, wanted is {new}: "
                    f"give it another name, as in 'other={column['spec']}'"
                )


def _open(folder: Path, wanted: Input, columns: dict[str, Column]) -> ScoreTable:
    """The table of `folder`, begun where there is none; checked again, now that nobody else writes."""
    table = ScoreTable(folder) if (folder / MANIFEST).exists() else ScoreTable.create(folder, wanted)
    if not was_read(table):
        # killed while it read: there is little to lose, nothing of another input or other columns stays
        same_input = table.manifest["input"] == wanted
        drop_columns(table, [name for name, made in table.manifest["columns"].items() if made != columns.get(name)])
        if not same_input:
            drop_columns(table, [*table.manifest["columns"], ROWS])
            table = ScoreTable.create(folder, wanted)
    _refuse_mismatch(table, wanted, columns)
    if was_read(table) and (table.manifest["rows"] is None or is_grown(table, wanted["files"])):
        grow(table)
    return table


def _register_cheap_columns(
    table: ScoreTable, scorers: dict[str, Scorer], described: dict[str, Column]
) -> dict[str, Scorer]:
    """The cheap ones of `scorers`, said in the manifest before their first part is written."""
    if table.manifest["rows"] is not None:
        return {}
    # a column that is yet to be made can only be read after it
    cheap = {name: made for name, made in scorers.items() if made.is_cheap and not reads_any(made, scorers)}
    table.manifest["columns"].update({name: described[name] for name in cheap})
    table.save()
    return cheap


def _register(
    table: ScoreTable, scorers: dict[str, Scorer], described: dict[str, Column], chosen: np.ndarray | None
) -> dict[str, Scorer]:
    """Those of `scorers` whose columns are not complete, said in the manifest before the first part is written: a later
    run must not go on with other fields or rows."""
    missing = {name: scorer for name, scorer in scorers.items() if name not in table.columns}
    if missing:
        for name in missing:
            table.manifest["columns"].setdefault(name, described[name])
        table.save()
    if chosen is not None:
        for name in missing:
            save_rows(table.path, name, chosen)
    return missing


def _fill(
    source: Source, table: ScoreTable, missing: dict[str, Scorer], before: list[tuple[int, int]], engine: Engine
) -> None:
    """Make the columns that are not complete."""
    if not missing:
        return
    try:
        fill_columns(source, table, missing, engine)
    finally:
        # of workers that were stopped
        recover_all(table.path)
    try:
        _refuse_changed(source, before)
    except ValueError:
        drop_columns(table, [*missing])
        raise


def _refuse_changed(source: Source, before: list[tuple[int, int]]) -> None:
    # a file that is gone or new is a change as well: they are listed again
    if stamps(dataclasses.replace(source)) != before:
        raise ValueError(f"{', '.join(map(str, source.files()))}: the input was changed while it was read")


def _remove_unread_table(table: ScoreTable, made: bool) -> None:
    """Remove a table whose input could not be read to its end; one that already was holds scores and stays."""
    if was_read(table) and any(table.manifest["columns"]):
        return
    drop_columns(table, [*table.manifest["columns"], ROWS])
    # without a manifest nothing else may be there
    for name in (CHUNKS, SKIPPED, MANIFEST, LOCK):
        (table.path / name).unlink(missing_ok=True)
    if made:
        with suppress(OSError):
            table.path.rmdir()
