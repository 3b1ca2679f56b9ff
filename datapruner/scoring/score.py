"""`score`: from a corpus to a score table. Goes on where a killed run stopped, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from datapruner.corpus.background_hash import BackgroundTask
from datapruner.corpus.chunks import CHUNKS
from datapruner.corpus.fingerprint import fingerprint, is_on_disk, stamps, unhashed
from datapruner.corpus.fragments import CorpusLike
from datapruner.corpus.source import Source, as_source
from datapruner.scoring.column_passes import check_needs, fill_columns, reads_any
from datapruner.scoring.engine import Engine, as_engine
from datapruner.scoring.first_pass import read_rows
from datapruner.scoring.manifest import MANIFEST, ROWS, Column, Input
from datapruner.scoring.score_table import ScoreTable, remove_column
from datapruner.scoring.scorer import Scorer
from datapruner.scoring.scorer_columns import manifest_column, manifest_input, scorers_by_column
from prunekernels.io.outputs import LOCK, check_not_input, folder_lock, make_parents
from prunekernels.io.staging import recover_all


def score(
    source: CorpusLike | Source,
    scorers: str | Scorer | Sequence[str | Scorer],
    out: str | Path,
    engine: str | Engine = "local",
) -> ScoreTable:
    """Score every row of `source` into the folder `out`; a scorer is an instance or "[name=]method:field=value".

    `engine` says where: "local" is this process, "local:workers=4" so many processes, "ray" a Ray cluster; the
    bytes are the same. What is there already is not scored again: columns and chunks of a finished or killed run
    are kept. Raises ValueError where `out` holds scores of another input, or a column of the same name made otherwise.
    """
    source, folder = as_source(source), Path(out)
    check_not_input(folder, source.paths())
    columns, runs = scorers_by_column(scorers), as_engine(engine)
    runs.check()
    check_needs(source, columns)
    described = {name: manifest_column(scorer) for name, scorer in columns.items()}
    before, hashing = stamps(source), BackgroundTask(partial(fingerprint, source))
    # whether a table that is there is of this input must be known first; for a new one the input is hashed meanwhile
    waits = (folder / MANIFEST).exists() or not is_on_disk(source)
    table_input = manifest_input(source, hashing.result() if waits else unhashed(source))
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
        _fill(source, table, columns, described, before, runs)
    return table


def _check_folder(folder: Path, wanted: Input, columns: dict[str, Column]) -> None:
    """Refuse before anything is changed."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"want a folder for the scores, got the file {folder}")
    if (folder / MANIFEST).exists():
        table = ScoreTable(folder)
        if table.manifest["rows"] is not None:
            _refuse_mismatch(table, wanted, columns)
    elif folder.is_dir():
        # a run that was killed, or that begins just now, may have no more than this
        begun = (LOCK, f".{MANIFEST}.")
        other = sorted(file.name for file in folder.iterdir() if not file.name.startswith(begun))
        if other:
            raise ValueError(f"{folder} is no score table and not empty: it has {other[0]}")


def _settings(described: Input) -> dict[str, str | int | None]:
    """All but the files, which must be the same for a table to go on."""
    sizes = {"chunk_rows": described["chunk_rows"], "chunk_bytes": described.get("chunk_bytes")}
    return {**described["fields"], **sizes}


def _refuse_mismatch(table: ScoreTable, wanted: Input, columns: dict[str, Column]) -> None:
    table.refuse_other_input(wanted["files"])
    made = _settings(table.manifest["input"])
    for key, new in _settings(wanted).items():
        if made.get(key) != new:
            raise ValueError(f"{table.path} was made with {key}={made.get(key)!r}, wanted is {key}={new!r}")
    for name, column in columns.items():
        found = table.manifest["columns"].get(name)
        if found is None:
            continue
        for key in ("method", "version", "fields", "identity"):
            old, new = found[key], column[key]  # type: ignore[literal-required]
            if old != new:
                raise ValueError(
                    f"{table.path} has a column {name!r} with {key} {old}, wanted is {new}: "
                    f"give it another name, as in 'other={column['spec']}'"
                )


def _open(folder: Path, wanted: Input, columns: dict[str, Column]) -> ScoreTable:
    """The table of `folder`, begun where there is none; checked again, now that nobody else writes."""
    table = ScoreTable(folder) if (folder / MANIFEST).exists() else ScoreTable.create(folder, wanted)
    if table.manifest["rows"] is None:
        # killed while it read: there is little to lose, nothing of another input or other columns stays
        same_input = table.manifest["input"] == wanted
        _drop_columns(table, [name for name, made in table.manifest["columns"].items() if made != columns.get(name)])
        if not same_input:
            _drop_columns(table, [*table.manifest["columns"], ROWS])
            table = ScoreTable.create(folder, wanted)
    _refuse_mismatch(table, wanted, columns)
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


def _drop_columns(table: ScoreTable, names: Sequence[str]) -> None:
    """Remove the parts of columns, and what the manifest says of them.

    In this order, whenever it is cut off: what is said to be complete is there, parts are of a column that is named.
    """
    for name in names:
        if name in table.manifest["columns"]:
            table.manifest["columns"][name]["complete"] = False
    table.save()
    for name in names:
        remove_column(table.path / name)
        table.manifest["columns"].pop(name, None)
    table.save()


def _fill(
    source: Source,
    table: ScoreTable,
    scorers: dict[str, Scorer],
    described: dict[str, Column],
    before: list[tuple[int, int]],
    engine: Engine,
) -> None:
    """Make the columns that are not complete."""
    missing = {name: scorer for name, scorer in scorers.items() if name not in table.columns}
    if not missing:
        return
    # said before the first part is written: a later run must not go on with other fields
    for name in missing:
        table.manifest["columns"].setdefault(name, described[name])
    table.save()
    try:
        fill_columns(source, table, missing, engine)
    finally:
        # of workers that were stopped
        recover_all(table.path)
    try:
        _refuse_changed(source, before)
    except ValueError:
        _drop_columns(table, [*missing])
        raise


def _refuse_changed(source: Source, before: list[tuple[int, int]]) -> None:
    if stamps(source) != before:
        raise ValueError(f"{', '.join(map(str, source.files()))}: the input was changed while it was read")


def _remove_unread_table(table: ScoreTable, made: bool) -> None:
    """Remove a table whose input could not be read to its end; one that already was holds scores and stays."""
    if table.manifest["rows"] is not None and any(table.manifest["columns"]):
        return
    _drop_columns(table, [*table.manifest["columns"], ROWS])
    # without a manifest nothing else may be there
    for name in (CHUNKS, MANIFEST, LOCK):
        (table.path / name).unlink(missing_ok=True)
    if made:
        with suppress(OSError):
            table.path.rmdir()
