"""The corpus: JSONL or Parquet files, read in chunks of rows and never whole.

A row has a text, a uid (a given column, or content hash plus occurrence, see uids.py) and, where a column is
named for it, a group. A folder stands for the files of one format in it, in the order of their names. Chunks
end where a file ends.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

from datapruner import uids
from datapruner.formats import Rows, jsonl, parquet

FORMATS = (jsonl, parquet)


@dataclass(frozen=True)
class Source:
    """Where the rows are: a file, a folder or a list of files; which fields are text, uid, group and label."""

    path: str | Path | Sequence[str | Path]
    text: str = "text"
    uid: str | None = None
    group: str | None = None
    label: str | None = None
    chunk_rows: int = 4096

    def __post_init__(self) -> None:
        if self.chunk_rows < 1:
            raise ValueError(f"want chunk_rows of at least 1, got {self.chunk_rows}")

    def files(self) -> tuple[Path, ...]:
        """The files in order, all of one format; raises where there is none or one is missing."""
        given = [self.path] if isinstance(self.path, str | Path) else [*self.path]
        files = tuple(file for path in given for file in _expand(Path(path)))
        if not files:
            raise ValueError(f"want at least one file, got {self.path!r}")
        if len({format_of(file) for file in files}) > 1:
            raise ValueError(f"want files of one format, got {', '.join(sorted({f.suffix for f in files}))}")
        return files

    def raw_chunks(self, whole: bool = True, more: Sequence[str] = ()) -> Iterator[Chunk]:
        """Rows as they stand; not `whole`: only the columns that make a record and `more`, in formats with columns."""
        columns = (
            None
            if whole
            else [*more] + [name for name in (self.text, self.uid, self.group, self.label) if name is not None]
        )
        index = start = 0
        for file in self.files():
            for rows in format_of(file).read(file, self.chunk_rows, columns):
                yield Chunk(index, start, rows)
                index, start = index + 1, start + len(rows)

    def parsed(self, chunk: Chunk) -> Chunk:
        """`chunk` with texts, groups and given uids, each checked by itself."""
        wanted = [name for name in (self.text, self.group, self.uid, self.label) if name is not None]
        values = dict(zip(wanted, chunk.rows.fields(wanted), strict=True))
        return dataclasses.replace(
            chunk,
            texts=_texts(chunk.rows, self.text, values[self.text]),
            groups=None if self.group is None else _names(chunk.rows, self.group, values[self.group]),
            labels=None if self.label is None else _labels(chunk.rows, self.label, values[self.label]),
            uids=[] if self.uid is None else _names(chunk.rows, self.uid, values[self.uid]),
        )

    def vectors(self, chunk: Chunk, name: str) -> np.ndarray:
        """The field `name` of `chunk`, lists of numbers of one length, as float32 [n, d]."""
        values = chunk.rows.fields([name])[0]
        lengths = {len(value) if isinstance(value, list | tuple | np.ndarray) else -1 for value in values}
        if len(lengths) > 1 or -1 in lengths:
            raise ValueError(f"{chunk.rows.place(0)} and after: want lists of one length in field {name!r}")
        return np.array(values, dtype=np.float32)

    def chunks(self) -> Iterator[Chunk]:
        """All rows, parsed; uids only where they are given."""
        return map(self.parsed, self.raw_chunks(whole=False))

    def identified(self) -> Iterator[Chunk]:
        """All rows, parsed, with uids; raises ValueError at the second row of a given uid."""
        seen = uids.Seen()
        for chunk in self.chunks():
            if self.uid is None:
                yield dataclasses.replace(chunk, uids=uids.content_uids(chunk.texts, seen))
                continue
            for index in np.flatnonzero(seen.count_and_add(uids.hash64(chunk.uids))).tolist():
                self._refuse_repeated(chunk, index)
            yield chunk

    def _refuse_repeated(self, chunk: Chunk, index: int) -> None:
        """Look for the first row of the uid: equal hashes of unequal uids are no error."""
        uid = chunk.uids[index]
        for earlier in self.chunks():
            names = chunk.uids[:index] if earlier.index == chunk.index else earlier.uids
            if uid in names:
                first = earlier.rows.place(names.index(uid))
                raise ValueError(f"{chunk.rows.place(index)}: uid {uid!r} was already used in {first}")
            if earlier.index == chunk.index:
                return


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows: `rows` as they stand in the file, and what was read from them."""

    index: int
    start: int
    rows: Rows
    texts: list[str] = field(default_factory=list)
    groups: list[str] | None = None
    labels: list[str | int] | None = None
    uids: list[str] = field(default_factory=list)


def as_source(source: str | Path | Sequence[str | Path] | Source) -> Source:
    """A `Source` from itself or from a path."""
    return source if isinstance(source, Source) else Source(source)


def format_of(path: Path) -> ModuleType:
    """The format that `path`'s ending names."""
    for known in FORMATS:
        if path.suffix.lower() in known.SUFFIXES:
            return known
    endings = ", ".join(suffix for known in FORMATS for suffix in known.SUFFIXES)
    raise ValueError(f"{path}: want a file that ends in {endings}")


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        known = {suffix for item in FORMATS for suffix in item.SUFFIXES}
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in known and file.is_file())
        if not found:
            raise ValueError(f"{path}: want a folder with files that end in {', '.join(sorted(known))}")
        return found
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    format_of(path)
    return [path]


def _texts(rows: Rows, name: str, values: list[object]) -> list[str]:
    """`values` of the field `name`, each of which must be valid text."""
    texts: list[str] = []
    for index, value in enumerate(values):
        if not isinstance(value, str):
            kind = "null" if value is None else type(value).__name__
            raise ValueError(f"{rows.place(index)}: want a string in field {name!r}, got {kind}")
        _check_unicode(value, rows, index, name)
        texts.append(value)
    return texts


def _names(rows: Rows, name: str, values: list[object]) -> list[str]:
    """`values` of the field `name` as names: strings, and whole numbers as strings."""
    names: list[str] = []
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, str | int):
            kind = "null" if value is None else type(value).__name__
            raise ValueError(f"{rows.place(index)}: want a string or whole number in field {name!r}, got {kind}")
        names.append(str(value))
        _check_unicode(names[-1], rows, index, name)
    return names


def _labels(rows: Rows, name: str, values: list[object]) -> list[str | int]:
    """`values` of the field `name` as classes: strings and whole numbers, as they are."""
    labels: list[str | int] = []
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, str | int):
            kind = "null" if value is None else type(value).__name__
            raise ValueError(f"{rows.place(index)}: want a string or whole number in field {name!r}, got {kind}")
        labels.append(value)
    return labels


def _check_unicode(text: str, rows: Rows, index: int, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        place = f"{rows.place(index)}: field {name!r}"
        raise ValueError(f"{place} has half a surrogate pair at character {error.start}, which is no text") from error
