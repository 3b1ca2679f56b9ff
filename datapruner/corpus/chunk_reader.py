"""Any chunk by its number, in any process: what a worker has instead of a pass over the corpus.

JSON lines are sought in by byte, Parquet by row group, arrays, data sets and image folders by row. Compressed lines
and streams can only be gone through: ascending numbers share one way through the file, a step back begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from datapruner.corpus.chunks import Chunk, ChunkOffset
from datapruner.corpus.format import Begin, Rows
from datapruner.corpus.fragments import Fragment, format_of
from datapruner.corpus.source import Source


@dataclass
class _Cursor:
    """An open way through the fragments, before the chunk number `next`."""

    rows: Iterator[tuple[int, Rows]]
    next: int


@dataclass
class ChunkReader:
    """Reads the chunks of `source` that begin at `offsets`; pickled, it is opened again where it arrives.

    In formats with columns those that make a record and `more`; all where `whole`.
    """

    source: Source
    offsets: tuple[ChunkOffset, ...]
    more: tuple[str, ...] = ()
    whole: bool = False
    _cursor: _Cursor | None = field(default=None, repr=False, compare=False)

    @cached_property
    def _fragments(self) -> tuple[Fragment, ...]:
        return self.source.files()

    def __call__(self, index: int) -> Chunk:
        """Chunk number `index`; raises ValueError where the source is not as it was when the offsets were written."""
        if not 0 <= index < len(self.offsets):
            raise ValueError(f"want a chunk of [0, {len(self.offsets)}), got {index}")
        offset = self.offsets[index]
        if offset.file >= len(self._fragments):
            raise ValueError(f"want {offset.file + 1} files, got {len(self._fragments)}: the input was changed")
        fragment, cursor = self._fragments[offset.file], self._cursor
        if cursor is None or cursor.next != index:
            cursor = self._cursor = _Cursor(self._open_at(fragment, index), index)
        file, rows = next(cursor.rows, (0, None))
        cursor.next += 1
        if rows is not None and self.source.limit is not None and len(rows) > offset.rows:
            rows = rows.take(range(offset.rows))
        if rows is None or ChunkOffset(file, rows.begin.offset, rows.begin.number, offset.start, len(rows)) != offset:
            self._cursor = None
            got = "none" if rows is None else f"{len(rows)} after {rows.begin.number - 1}"
            wanted = f"{fragment}: want {offset.rows} rows after line or row {offset.number - 1}"
            raise ValueError(f"{wanted}, got {got}: the input was changed, or the places are of other chunks")
        return Chunk(index, offset.start, rows, file=offset.file)

    def _open_at(self, fragment: Fragment, index: int) -> Iterator[tuple[int, Rows]]:
        """The rows from chunk number `index` on, from the open way where that only has to be gone on."""
        offset, cursor = self.offsets[index], self._cursor
        if cursor is not None and _is_sequential(fragment) and cursor.next <= index:
            skipped = self.offsets[cursor.next : index]
            if all(other.file == offset.file for other in self.offsets[cursor.next - 1 : index]):
                for _ in skipped:
                    next(cursor.rows, None)
                return cursor.rows
        begin = Begin(offset.offset, offset.number)
        names = None if self.whole else self.source.names(self.more)
        return self.source.rows_from(self._fragments, offset.file, begin, names)

    def __getstate__(self) -> dict[str, object]:
        return {"source": self.source, "offsets": self.offsets, "more": self.more, "whole": self.whole}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _cursor=None)


def _is_sequential(fragment: Fragment) -> bool:
    """Whether `fragment` cannot be begun in its middle without reading what comes before."""
    return getattr(format_of(fragment), "is_sequential", lambda _: False)(fragment)
