"""Parquet files of our own, whose every byte is covered by a checksum that is verified before it is believed.

Each column chunk has a CRC-32 of its bytes (page headers, dictionary and pages), which is compared when that column is
read; the footer, which holds them, has one of its own, compared when the file is opened. So reading one column costs
a pass over the bytes of that column and nothing else. They stand in the footer's key-value metadata as

    prunekit.crc32 = <footer> <chunk 0 of group 0> <chunk 1 of group 0> ...       8 hex digits each, without spaces

where the footer's is taken with question marks in its own place. Other readers see ordinary Parquet. A CRC finds what
disks and networks do to a file, not what somebody does on purpose.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from prunekernels.extras import require
from prunekernels.io.paths import open_regular

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_KEY, _MAGIC, _UNKNOWN = b"prunekit.crc32", b"PAR1", b"????????"
_STEP = 1 << 24
# the key, the length of the text (a varint behind its type), the text
_SEAL = re.compile(_KEY + rb".{2,6}?((?:[0-9a-f?]{8})+)", re.DOTALL)


class Writer:
    """Writes tables of one schema as row groups; the checksums are put in when the block ends well."""

    def __init__(self, path: Path, schema: pa.Schema, **options: object) -> None:
        self.path = path
        self.file = require("pyarrow.parquet", "data").ParquetWriter(path, schema, compression="zstd", **options)
        self.groups = 0

    def __enter__(self) -> Writer:
        return self

    def write(self, table: pa.Table) -> None:
        """Append `table` as one row group."""
        self.file.write_table(table, row_group_size=max(1, len(table)))
        self.groups += 1

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            if kind is None:
                leaves = sum(_leaves(field.type) for field in self.file.schema)
                self.file.add_key_value_metadata({_KEY: _UNKNOWN * (1 + leaves * self.groups)})
        finally:
            self.file.close()
        if kind is None:
            _seal(self.path)


def write_table(table: pa.Table, path: Path) -> None:
    """Write `table` as one row group."""
    with Writer(path, table.schema) as file:
        file.write(table)


class CheckedFile:
    """An open file that `Writer` wrote; `file` is Arrow's, `metadata` its verified footer."""

    def __init__(self, path: Path, opened: BinaryIO, dictionaries: tuple[str, ...]) -> None:
        pa, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
        self.path, self._opened = path, opened
        self._checksums = _checksums(path, opened)
        self.file: pq.ParquetFile = parquet.ParquetFile(
            pa.OSFile(str(path)), read_dictionary=list(dictionaries), pre_buffer=False
        )
        self.metadata = self.file.metadata
        if len(self._checksums) != self.metadata.num_row_groups * self.metadata.num_columns:
            raise ValueError(f"{path}: want a checksum for each column, got {len(self._checksums)}")

    @property
    def n_rows(self) -> int:
        return int(self.metadata.num_rows)

    def read(self, name: str, group: int | None = None) -> pa.ChunkedArray:
        """The column `name`, of one row group or all; raises ValueError where it is not as it was written."""
        groups = range(self.metadata.num_row_groups) if group is None else [group]
        if name not in self.file.schema_arrow.names:
            raise ValueError(f"{self.path}: want a field {name!r}, got {', '.join(self.file.schema_arrow.names)}")
        for number in groups:
            self._verify(name, number)
        return self.file.read_row_groups([*groups], columns=[name], use_threads=False).column(0)

    def _verify(self, name: str, group: int) -> None:
        chunks = self.metadata.row_group(group)
        for leaf in range(chunks.num_columns):
            chunk = chunks.column(leaf)
            if chunk.path_in_schema == name or chunk.path_in_schema.startswith(f"{name}."):
                found = _crc32(self._opened, *_span(chunk))
                if found != self._checksums[group * chunks.num_columns + leaf]:
                    raise ValueError(f"{self.path}: the bytes of {name!r} are not those that were written")


@contextmanager
def open_checked(path: Path, dictionaries: tuple[str, ...] = ()) -> Iterator[CheckedFile]:
    """The file at `path`; the columns `dictionaries` are read as such. Raises ValueError for any other file.

    So does whatever is read inside the block from a file that is broken; OSError where it is missing.
    """
    pa = require("pyarrow", "data")
    with open_regular(path) as opened:
        try:
            checked = CheckedFile(path, opened, dictionaries)
            with checked.file:
                yield checked
        except (pa.ArrowException, OSError, IndexError, KeyError, OverflowError) as error:
            # an error of the machine has a number, one of the data has not
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ValueError(f"{path}: want a Parquet file as it was written: {error}"[:400]) from error


def n_rows(path: Path) -> int:
    """How many rows the file at `path` has, by its verified footer."""
    with open_checked(path) as file:
        return file.n_rows


def _seal(path: Path) -> None:
    """Put the checksums in the place of the question marks."""
    metadata = require("pyarrow.parquet", "data").read_metadata(path)
    chunks = [
        metadata.row_group(group).column(leaf)
        for group in range(metadata.num_row_groups)
        for leaf in range(metadata.num_columns)
    ]
    with open(path, "r+b") as file:
        start, footer = _footer(path, file)
        found = _SEAL.search(footer)
        if found is None or len(found[1]) != 8 * (1 + len(chunks)):
            raise ValueError(f"{path}: want a place for {1 + len(chunks)} checksums")
        sums = b"".join(b"%08x" % _crc32(file, *_span(chunk)) for chunk in chunks)
        at = found.start(1)
        sealed = footer[: at + 8] + sums + footer[found.end(1) :]
        file.seek(start + at)
        file.write(b"%08x" % zlib.crc32(sealed) + sums)


def _checksums(path: Path, file: BinaryIO) -> list[int]:
    """Those of the column chunks; raises ValueError where the footer is not as it was written."""
    _, footer = _footer(path, file)
    found = _SEAL.search(footer)
    if found is None or b"?" in found[1]:
        raise ValueError(f"{path}: want a file with checksums, as datapruner writes it, got none")
    at = found.start(1)
    own = int(found[1][:8], 16)
    if zlib.crc32(footer[:at] + _UNKNOWN + footer[at + 8 :]) != own:
        raise ValueError(f"{path}: its footer is not what was written")
    digits = found[1][8:]
    return [int(digits[place : place + 8], 16) for place in range(0, len(digits), 8)]


def _footer(path: Path, file: BinaryIO) -> tuple[int, bytes]:
    """Where the footer begins, and its bytes with the length and the letters behind it."""
    size = os.fstat(file.fileno()).st_size
    tail = os.pread(file.fileno(), 8, max(0, size - 8))
    length = int.from_bytes(tail[:4], "little") + 8
    if tail[4:] != _MAGIC or os.pread(file.fileno(), 4, 0) != _MAGIC or length + 4 > size:
        raise ValueError(f"{path}: want a Parquet file, got something else or a part of one")
    return size - length, os.pread(file.fileno(), length, size - length)


def _span(chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    """The first byte of a column chunk, its dictionary's if it has one, and how many there are."""
    start = chunk.data_page_offset
    if chunk.dictionary_page_offset is not None:
        start = min(start, chunk.dictionary_page_offset)
    return start, chunk.total_compressed_size


def _crc32(file: BinaryIO, start: int, size: int) -> int:
    crc = 0
    while size > 0:
        block = os.pread(file.fileno(), min(size, _STEP), start)
        if not block:
            break
        crc, start, size = zlib.crc32(block, crc), start + len(block), size - len(block)
    return crc


def _leaves(kind: pa.DataType) -> int:
    """How many columns Parquet makes of a type."""
    return sum(_leaves(kind.field(place).type) for place in range(kind.num_fields)) or 1
