"""A table whose input got more files: what was scored stays, the new rows come behind.

Chunks may go over from one file to the next, so that the last one is done anew. What a `fit` found holds of the corpus
as it was: such columns are made anew as a whole. Until it is read to its end the table names its files as they were.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from datapruner.corpus.chunks import CHUNKS, load_chunk_offsets
from datapruner.corpus.fingerprint import FileFingerprint, difference
from datapruner.scoring.manifest import ROWS
from datapruner.scoring.score_table import ScoreTable, remove_column


def is_grown(table: ScoreTable, files: Sequence[FileFingerprint]) -> bool:
    """Whether `files` are those of the table, in their order, and more behind them."""
    made = table.manifest["input"]["files"]
    return 0 < len(made) < len(files) and difference(made, files[: len(made)]) is None


def was_read(table: ScoreTable) -> bool:
    """Whether the input was read to its end once, also where the table was growing when it was killed."""
    hashed = all(file["blake2b"] for file in table.manifest["input"]["files"])
    return table.manifest["rows"] is not None or (hashed and (table.path / CHUNKS).exists())


def grow(table: ScoreTable) -> None:
    """Make `table` one that has not been read to its end; a run that was killed in its growing begins that anew."""
    drop_columns(table, [name for name in table.manifest["columns"] if table.has_state(name)])
    for column in table.manifest["columns"].values():
        column["complete"] = False
    table.manifest["rows"] = table.manifest["chunks"] = None
    table.save()
    stay = len(load_chunk_offsets(table.path)) - 1
    for name in (ROWS, *table.manifest["columns"]):
        for part in [*(table.path / name).glob("*.parquet")]:
            if re.fullmatch(r"\d{8}", part.stem) and int(part.stem) >= stay:
                part.unlink()


def drop_columns(table: ScoreTable, names: Sequence[str]) -> None:
    """Remove the parts of columns, and what the manifest says of them.

    In this order, whenever it is cut off: what is said to be complete is there, parts are of a column that is named.
    """
    if not names:
        return
    for name in names:
        if name in table.manifest["columns"]:
            table.manifest["columns"][name]["complete"] = False
    table.save()
    for name in names:
        remove_column(table.path / name)
        table.manifest["columns"].pop(name, None)
    table.save()
