"""The score table: a folder with `manifest.json` and Parquet parts, one per chunk of rows and column.

    scores/manifest.json                what the input was, and for each column how it was made
    scores/rows/00000000.parquet        row, uid, key (64-bit hash of the uid), group, characters, tokens
    scores/chunks.parquet               where each chunk begins in the input
    scores/perplexity/00000000.parquet  score (float32), and details where the scorer has them
    scores/minilm/00000000.parquet      vector (float32 [d]), where the column is an embedder's
    scores/density/fit.safetensors      what `fit` found, where the scorer sees the whole corpus first

Every file appears whole and holds no time or place, so that a run which was killed and went on leaves the same
bytes as one that was not. A column is complete when the manifest says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from datapruner.corpus.fingerprint import FileFingerprint, difference
from datapruner.scoring.safetensors_mmap import mmap_safetensors
from datapruner.scoring.scorer import Value
from prunekernels.extras import require
from prunekernels.io.outputs import atomic_file, make_parents
from prunekernels.io.paths import path_inside

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
MANIFEST = "manifest.json"
ROWS = "rows"
FIT = "fit.safetensors"
_PART = re.compile(r"\d{8,}\.parquet")


class Input(TypedDict):
    """The corpus as the table read it."""

    files: list[FileFingerprint]
    fields: dict[str, str | None]
    chunk_rows: int
    chunk_bytes: int


class Column(TypedDict):
    """How a column was made."""

    method: str
    spec: str
    fields: dict[str, Value]
    version: int
    identity: dict[str, str]
    direction: str
    package: str
    is_vector: bool
    complete: bool


class Manifest(TypedDict):
    """What `manifest.json` holds; `rows` and `chunks` are None until the input was read to its end."""

    format: int
    input: Input
    rows: int | None
    chunks: int | None
    columns: dict[str, Column]


class ScoreTable:
    """A score table on disk; raises ValueError where `path` holds none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        file = self.path / MANIFEST
        if not file.is_file():
            raise ValueError(f"{self.path} is no score table: it has no {MANIFEST}")
        try:
            self.manifest: Manifest = json.loads(file.read_bytes())
        except ValueError as error:
            raise ValueError(f"{file}: want JSON: {error}") from error
        if not isinstance(self.manifest, dict) or self.manifest.get("format") != FORMAT:
            raise ValueError(f"{file}: want a manifest of format {FORMAT}")

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
        """The scores of `column`, float32 [n] in the order of the rows."""
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
            raise ValueError(f"{self.path} has no finished {kind} {column!r}; finished: {known}")

    def has_state(self, column: str) -> bool:
        """Whether the column's `fit` is done."""
        return (self.path / column / FIT).exists()

    def state(self, column: str) -> dict[str, np.ndarray]:
        """What the column's `fit` found: views of the file, so that workers of one machine share its pages."""
        return mmap_safetensors(self.path / column / FIT)

    def write_state(self, column: str, state: Mapping[str, np.ndarray]) -> None:
        """Keep what the column's `fit` found; it appears whole."""
        from safetensors.numpy import save_file

        with _whole(self.path, f"{column}/{FIT}") as temporary:
            save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, temporary)

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
        return require("pyarrow.parquet", "data").read_metadata(self.part(column, chunk)).num_rows

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
        """One field of one part."""
        pa, pq = require("pyarrow", "data"), require("pyarrow.parquet", "data")
        path = self.part(column, chunk)
        try:
            return pq.read_table(path, columns=[field], partitioning=None).column(0)
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{path}: want a part with a field {field!r}: {error}") from error

    def write_part(self, column: str, chunk: int, table: pa.Table) -> None:
        """Write one part; it appears whole."""
        pq = require("pyarrow.parquet", "data")
        with _whole(self.path, f"{column}/{self.part(column, chunk).name}") as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def write_scores(self, column: str, chunk: int, scores: np.ndarray, details: Mapping[str, np.ndarray]) -> None:
        """Write one part: scores [n] or vectors [n, d], each a list of one length, and `details` [n]."""
        pa = require("pyarrow", "data")
        if scores.ndim == 2:
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(scores.reshape(-1)), scores.shape[1])
            self.write_part(column, chunk, pa.table({"vector": vectors, **details}))
        else:
            self.write_part(column, chunk, pa.table({"score": scores, **details}))

    def remove_parts(self, column: str) -> None:
        """Remove what was written of `column`; files of others stay, and what a link leads to."""
        folder = self.path / column
        if folder.is_symlink() or not folder.is_dir():
            return
        for file in folder.iterdir():
            if file.name == FIT or _PART.fullmatch(file.name):
                file.unlink()
        with suppress(OSError):
            folder.rmdir()

    def save(self) -> None:
        """Write the manifest."""
        save_manifest(self.path, self.manifest)


def save_manifest(path: Path, manifest: Manifest) -> None:
    """Write `manifest` into the folder `path`; it appears whole."""
    with _whole(path, MANIFEST) as temporary:
        text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


@contextmanager
def _whole(folder: Path, name: str) -> Iterator[Path]:
    """A temporary file that becomes the file `name` of the table `folder`; no link leads out of it."""
    path = path_inside(folder, name, str(folder))
    make_parents(path)
    with atomic_file(path, replaces=True, recovers=False) as temporary:
        yield temporary
