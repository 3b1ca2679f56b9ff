"""Any chunk by its number, in any process: what a worker has instead of a pass over the corpus.

JSON lines are sought in by byte, Parquet by row group, arrays, data sets and image folders by row. Compressed lines
and streams can only be gone through: ascending numbers share one way through the file, a step back begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from datapruner.corpus.chunks import Place
from datapruner.corpus.format import Begin, Rows
from datapruner.corpus.fragments import Piece, format_of
from datapruner.corpus.source import Chunk, Source


@dataclass
class _Cursor:
    """An open way through a piece, before the chunk number `next`."""

    rows: Iterator[Rows]
    next: int


@dataclass
class Reader:
    """Reads the chunks of `source` that begin at `places`; pickled, it is opened again where it arrives."""

    source: Source
    places: tuple[Place, ...]
    more: tuple[str, ...] = ()
    _cursor: _Cursor | None = field(default=None, repr=False, compare=False)

    @cached_property
    def _pieces(self) -> tuple[Piece, ...]:
        return self.source.files()

    def __call__(self, index: int) -> Chunk:
        """Chunk number `index`; raises ValueError where the source is not as it was when the places were written."""
        if not 0 <= index < len(self.places):
            raise ValueError(f"want a chunk of [0, {len(self.places)}), got {index}")
        place = self.places[index]
        if place.file >= len(self._pieces):
            raise ValueError(f"want {place.file + 1} files, got {len(self._pieces)}: the input was changed")
        piece, cursor = self._pieces[place.file], self._cursor
        if cursor is None or cursor.next != index or self.places[index - 1].file != place.file:
            cursor = self._cursor = _Cursor(self._begun(piece, index), index)
        rows = next(cursor.rows, None)
        cursor.next += 1
        if rows is None or Place(place.file, rows.begin.offset, rows.begin.number, place.start, len(rows)) != place:
            self._cursor = None
            got = "none" if rows is None else f"{len(rows)} after {rows.begin.number - 1}"
            wanted = f"{piece}: want {place.rows} rows after line or row {place.number - 1}"
            raise ValueError(f"{wanted}, got {got}: the input was changed, or the places are of other chunks")
        return Chunk(index, place.start, rows, file=place.file)

    def _begun(self, piece: Piece, index: int) -> Iterator[Rows]:
        """The rows from chunk number `index` on, from the open way where that only has to be gone on."""
        place, cursor = self.places[index], self._cursor
        if cursor is not None and _goes_through(piece) and cursor.next <= index:
            skipped = self.places[cursor.next : index]
            if all(other.file == place.file for other in self.places[cursor.next - 1 : index]):
                for _ in skipped:
                    next(cursor.rows, None)
                return cursor.rows
        begin = Begin(place.offset, place.number)
        return format_of(piece).read(piece, self.source.limits(), self.source.names(self.more), begin)

    def __getstate__(self) -> dict[str, object]:
        return {"source": self.source, "places": self.places, "more": self.more}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _cursor=None)


def _goes_through(piece: Piece) -> bool:
    """Whether `piece` cannot be begun in its middle without reading what comes before."""
    return getattr(format_of(piece), "goes_through", lambda _: False)(piece)
