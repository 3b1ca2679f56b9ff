"""The score table: a folder with `manifest.json` and Parquet parts, one per chunk of rows and column.

    scores/manifest.json                what the input was, and for each column how it was made
    scores/rows/00000000.parquet        row, uid, key (64-bit hash of the uid), group, characters, tokens
    scores/chunks.parquet               where each chunk begins in the input
    scores/perplexity/00000000.parquet  score (float32), and details where the scorer has them
    scores/minilm/00000000.parquet      vector (float32 [d]), where the column is an embedder's
    scores/density/fit.safetensors      what `fit` found, where the scorer sees the whole corpus first
    scores/density/rows.safetensors     the numbers of its rows, where a column has some alone
    scores/density/workspace/           what `fit` keeps while it works

Every file appears whole and holds no time or place, so that a run which was killed and went on leaves the same
bytes as one that was not. A column is complete when the manifest says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datapruner.corpus import checked_parquet
from datapruner.corpus.fingerprint import FileFingerprint, difference
from datapruner.corpus.fragments import CorpusLike
from datapruner.corpus.remote_outputs import local_path
from datapruner.corpus.source import Source, as_source
from datapruner.corpus.table_files import table_file
from datapruner.scoring.manifest import FORMAT, MANIFEST, ROWS, Input, Manifest, read_manifest, save_manifest
from datapruner.scoring.safetensors_mmap import mmap_safetensors, save_safetensors
from datapruner.scoring.workspace import WORKSPACE, Workspace
from prunekernels.extras import require

if TYPE_CHECKING:
    import pyarrow as pa

FIT, CHOSEN = "fit.safetensors", "rows.safetensors"
# what a part holds by these names; others are a scorer's details
_KINDS = {
    "row": "int64",
    "uid": "string",
    "key": "uint64",
    "group": "string",
    "characters": "int64",
    "tokens": "int64",
    "score": "float",
}


def remove_column(folder: Path) -> None:
    """Remove the parts of a column, and its folder where nothing else lies in it: files of others stay."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for file in folder.iterdir():
        if re.fullmatch(r"\d{8}\.parquet", file.name) or file.name in (FIT, CHOSEN):
            file.unlink()
    Workspace(folder / WORKSPACE).remove()
    with suppress(OSError):
        folder.rmdir()


class ScoreTable:
    """A score table on disk; raises ValueError where `path` holds none.

    With the `source` that was scored, vectors that are no column can be selected by.
    """

    def __init__(self, path: str | Path, source: CorpusLike | Source | None = None) -> None:
        self.path = local_path(path)
        self.source = None if source is None else as_source(source)
        file = self.path / MANIFEST
        if not file.is_file():
            raise ValueError(f"{self.path} is no score table: it has no {MANIFEST}")
        self.manifest = read_manifest(file)
        wanted = self.manifest["chunks"] or 0
        found = len(os.listdir(self.path / ROWS)) if wanted and (self.path / ROWS).is_dir() else 0
        if found < wanted:
            raise ValueError(f"{self.path / ROWS}: want {wanted:,} parts, got {found:,}")

    @classmethod
    def create(cls, path: Path, described: Input) -> ScoreTable:
        """Begin a table in the folder `path`."""
        save_manifest(path, Manifest(format=FORMAT, input=described, rows=None, chunks=None, columns={}))
        return cls(path)

    @property
    def columns(self) -> list[str]:
        """The names of the columns that are complete."""
        return sorted(name for name, column in self.manifest["columns"].items() if column["complete"])

    @property
    def vector_columns(self) -> list[str]:
        """Those of the complete columns that hold vectors."""
        return [name for name in self.columns if self.manifest["columns"][name]["is_vector"]]

    @property
    def score_columns(self) -> list[str]:
        """Those of the complete columns that hold scores."""
        return [name for name in self.columns if not self.manifest["columns"][name]["is_vector"]]

    @property
    def n_rows(self) -> int:
        """How many rows the input has; raises where it was not yet read to its end."""
        if self.manifest["rows"] is None:
            raise ValueError(f"{self.path} is not finished: run the same `score` again, it goes on")
        return self.manifest["rows"]

    def refuse_other_input(self, files: Sequence[FileFingerprint]) -> None:
        """Raise ValueError unless the table was made from `files`."""
        reason = difference(self.manifest["input"]["files"], files)
        if reason is not None:
            raise ValueError(f"{self.path} is the score table of another input: {reason}")

    def part(self, column: str, chunk: int) -> Path:
        """Where the part of `column` for chunk number `chunk` is or will be."""
        return self.path / column / f"{chunk:08d}.parquet"

    def scores(self, column: str) -> np.ndarray:
        """The scores of `column`, float32 [n] in the order of the rows; NaN where a row has none."""
        self._refuse_unknown("column", column, self.score_columns)
        return self.read(column, "score").to_numpy()

    def vectors(self, column: str, chunk: int) -> np.ndarray:
        """The vectors of one part of `column`, float32 [n, d]."""
        self._refuse_unknown("vector column", column, self.vector_columns)
        lists = self.read_part(column, chunk, "vector").combine_chunks()
        return lists.flatten().to_numpy().reshape(len(lists), lists.type.list_size)

    def _refuse_unknown(self, kind: str, column: str, columns: Sequence[str]) -> None:
        if column not in columns:
            known = ", ".join(columns) or "none"
            hint = "; a field of the source is read where the table is given it" if kind == "vector column" else ""
            raise ValueError(f"{self.path} has no finished {kind} {column!r}; finished: {known}{hint}")

    def has_state(self, column: str) -> bool:
        """Whether the column's `fit` is done."""
        return (self.path / column / FIT).exists()

    def state(self, column: str) -> dict[str, np.ndarray]:
        """What the column's `fit` found: views of the file, so that workers of one machine share its pages."""
        return mmap_safetensors(self.path / column / FIT)

    def write_state(self, column: str, state: Mapping[str, np.ndarray]) -> None:
        """Keep what the column's `fit` found; it appears whole."""
        with table_file(self.path, f"{column}/{FIT}") as temporary:
            save_safetensors(state, temporary)

    def missing_parts(self, column: str) -> set[int]:
        """The numbers of the chunks that have no part of `column` yet."""
        folder = self.path / column
        # one listing: on a network's file system a look at each part takes its time
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        return {chunk for chunk in range(self.manifest["chunks"] or 0) if self.part(column, chunk).name not in there}

    def covered(self, column: str) -> int:
        """How many rows have a part of `column`."""
        return self.n_rows - sum(self.part_rows(ROWS, chunk) for chunk in self.missing_parts(column))

    def part_rows(self, column: str, chunk: int) -> int:
        """How many rows one part has."""
        return checked_parquet.n_rows(self.part(column, chunk))

    def read(self, column: str, field: str) -> pa.ChunkedArray:
        """One field of every part of `column`, in the order of the rows."""
        pa = require("pyarrow", "data")
        n_rows = self.n_rows
        parts = [self.read_part(column, chunk, field) for chunk in range(self.manifest["chunks"] or 0)]
        joined = pa.chunked_array([chunk for part in parts for chunk in part.chunks])
        if len(joined) != n_rows:
            raise ValueError(f"{self.path / column}: want {n_rows} rows, got {len(joined)}")
        return joined

    def read_part(self, column: str, chunk: int, field: str) -> pa.ChunkedArray:
        """One field of one part, as it was written; the group comes as a dictionary."""
        path = self.part(column, chunk)
        try:
            with checked_parquet.open_checked(path, ("group",) if field == "group" else ()) as file:
                values = file.read(field)
        except FileNotFoundError as error:
            raise ValueError(f"{path}: want a part with a field {field!r}: {error}") from error
        kind = getattr(values.type, "value_type", values.type)
        wanted = "float" if field == "vector" else _KINDS.get(field)
        is_list = hasattr(values.type, "list_size")
        if (wanted is not None and str(kind) != wanted) or is_list != (field == "vector"):
            raise ValueError(f"{path}: want {field!r} as {wanted or 'numbers'}, got {values.type}")
        if field == "score" and not all(
            np.isfinite(piece.to_numpy(zero_copy_only=False)).all() for piece in self._scored(column, values).chunks
        ):
            raise ValueError(f"{path}: want finite scores, got others")
        return values

    def details_of(self, column: str) -> list[str]:
        """Names of the plain values that the parts of `column` have beside its scores or vectors."""
        part = self.part(column, 0)
        if not part.exists():
            return []
        nested = require("pyarrow", "data").types.is_nested
        fields = require("pyarrow.parquet", "data").read_schema(part)
        return [field.name for field in fields if field.name != "score" and not nested(field.type)]

    def has_detail(self, column: str, name: str) -> bool:
        """Whether the parts of `column` have the field `name`."""
        return name in self.details_of(column)

    def has_every_row(self, column: str) -> bool:
        """Whether every row has a score in `column`."""
        return column == ROWS or self.manifest["columns"][column]["rows"] is None

    def _scored(self, column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
        return values if self.has_every_row(column) else values.drop_null()

    def write_part(self, column: str, chunk: int, table: pa.Table) -> None:
        """Write one part; it appears whole."""
        with table_file(self.path, f"{column}/{self.part(column, chunk).name}") as temporary:
            checked_parquet.write_table(table, temporary)

    def write_scores(
        self,
        column: str,
        chunk: int,
        scores: np.ndarray,
        details: Mapping[str, np.ndarray],
        at: tuple[np.ndarray, int] | None = None,
    ) -> None:
        """Write one part: scores [n] or vectors [n, d], each a list of one length, and `details` [n].

        `at` are their places int64 [n] among so many rows of the chunk, of which the others stay empty.
        """
        pa = require("pyarrow", "data")
        if scores.ndim == 2:
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(scores.reshape(-1)), scores.shape[1])
            self.write_part(column, chunk, pa.table({"vector": vectors, **details}))
            return
        table = pa.table({"score": scores, **details})
        if at is not None and len(at[0]) < at[1]:
            order = np.full(at[1], len(scores))
            order[at[0]] = np.arange(len(scores))
            # a place that is none gives an empty one
            table = table.take(pa.array(order, mask=order == len(scores)))
        self.write_part(column, chunk, table)

    def save(self) -> None:
        """Write the manifest."""
        save_manifest(self.path, self.manifest)
