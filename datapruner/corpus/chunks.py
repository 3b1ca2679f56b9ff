"""Chunks of consecutive rows, and where each begins: from that any process reads any chunk without those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from datapruner.corpus import checked_parquet
from datapruner.corpus.format import Rows
from datapruner.corpus.table_files import table_file
from prunekernels.extras import require

CHUNKS = "chunks.parquet"
FIELDS = ("file", "offset", "number", "start", "rows")


@dataclass(frozen=True)
class ChunkOffset:
    """One chunk: the number of its file, byte (JSON lines) or row in it, line or row number from 1 in it; its first
    row in the corpus, and how many rows it has."""

    file: int
    offset: int
    number: int
    start: int
    rows: int


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows: `rows` as they stand in fragment number `file`, and what was read from them; `keys` are the
    hashes of the uids, where somebody took them already."""

    index: int
    start: int
    rows: Rows
    texts: list[str] = field(default_factory=list)
    groups: list[str] | None = None
    labels: list[str | int] | None = None
    uids: list[str] = field(default_factory=list)
    images: list[bytes] | None = None
    file: int = 0
    keys: np.ndarray | None = None

    @property
    def offset(self) -> ChunkOffset:
        """Where the chunk begins."""
        begin = self.rows.begin
        return ChunkOffset(self.file, begin.offset, begin.number, self.start, len(self.rows))

    def contents(self) -> list[bytes]:
        """What a row is known by: its text, its encoded image, both, or all its fields where it has neither."""
        texts = [text.encode() for text in self.texts]
        if self.images is None:
            return texts or self.rows.contents()
        if not texts:
            return self.images
        # the length says where the one ends
        return [b"%d:%b%b" % (len(text), text, image) for text, image in zip(texts, self.images, strict=True)]


def save_chunk_offsets(folder: str | Path, offsets: Sequence[ChunkOffset]) -> None:
    """Write the offsets of all chunks into the folder of a score table; the file appears whole."""
    pa = require("pyarrow", "data")
    columns = {name: np.array([getattr(offset, name) for offset in offsets], dtype=np.int64) for name in FIELDS}
    with table_file(Path(folder), CHUNKS) as temporary:
        checked_parquet.write_table(pa.table(columns), temporary)


def load_chunk_offsets(folder: str | Path) -> list[ChunkOffset]:
    """The offsets of all chunks, in order; raises ValueError where the folder has none."""
    path = Path(folder) / CHUNKS
    try:
        with checked_parquet.open_checked(path) as file:
            columns = {name: file.read(name) for name in FIELDS}
    except FileNotFoundError as error:
        raise ValueError(f"{path}: want the places of the chunks, as `score` writes them: {error}") from error
    for name, column in columns.items():
        if str(column.type) != "int64" or column.null_count:
            raise ValueError(f"{path}: want whole numbers in {name!r}, got {column.type}")
    return [ChunkOffset(*values) for values in zip(*(columns[name].to_pylist() for name in FIELDS), strict=True)]
