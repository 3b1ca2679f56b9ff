"""The corpus: files, data sets, arrays or images, read in chunks of rows and never whole.

A row has a text, an image or both, or neither where only its vectors matter; a uid (a given column, or content hash
plus occurrence, see corpus/uids); and, where columns are named for them, a group and a label. What names a column may
also be a path, a template of several, or the file's name (see corpus/text_fields). A folder stands for the files of one
format in it, in the order of their names. In a folder of images the fields are "image", "file" and "folder", the class:
`label="folder"` makes it the label.

Chunks end after `chunk_rows` rows, before the row that would take them over `chunk_bytes` (what bytes are, each format
says), and where a file ends, unless the next one fits in whole: they hang on nothing but the rows and these two fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from datapruner.corpus import bad_rows, field_values, uids
from datapruner.corpus.bad_rows import SkipCallback, without_bad
from datapruner.corpus.chunks import Chunk
from datapruner.corpus.format import START, Begin, ReadOptions, Rows
from datapruner.corpus.formats.image_folder import ImageFolder
from datapruner.corpus.fragments import (
    CorpusLike,
    Fragment,
    check_fragments,
    format_of,
    fragments_of,
    wrap_in_memory,
)
from datapruner.corpus.joined_rows import join_small
from datapruner.corpus.text_fields import names_of, values_of

T = TypeVar("T")
# where a source keeps its files, once they are listed
LISTED = "_listed"


@dataclass(frozen=True)
class Source:
    """Where the rows are, and which fields are text, uid, group, label and image.

    `path`: a file, a folder, a glob, a URL that fsspec knows, or a list of them; "hf://datasets/<owner>/<name>" or a
    `HubDataset`; a `datasets` data set; a list of dicts, arrays by name, a table of Arrow or a frame of pandas.
    `nested`: the folders inside a folder are entered. `tokens`: a folder or hub id whose tokenizer counts the tokens;
    None estimates them. `text` is None, or not looked at, where a folder of images has none. `text_rows`: what a row of
    a text file is, a line or the file. `on_error`: a row that cannot be used is refused with its place, or skipped:
    counted and written apart. `limit`: the corpus is the first so many rows, and no more is read; None is all.
    """

    path: CorpusLike
    text: str | None = "text"
    uid: str | None = None
    group: str | None = None
    label: str | None = None
    chunk_rows: int = 4096
    image: str | None = None
    tokens: str | None = None
    chunk_bytes: int = 64 << 20
    nested: bool = False
    text_rows: Literal["line", "file"] = "line"
    on_error: Literal["refuse", "skip"] = "refuse"
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"want a limit of at least 1 row, got {self.limit}")
        for name in ("chunk_rows", "chunk_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"want {name} of at least 1, got {getattr(self, name)}")
        for name, known in (("text_rows", ("line", "file")), ("on_error", ("refuse", "skip"))):
            if getattr(self, name) not in known:
                raise ValueError(f"want {name} of {' or '.join(known)}, got {getattr(self, name)!r}")
        for field in (self.text, self.uid, self.group, self.label):
            names_of(field or "")
        object.__setattr__(self, "path", wrap_in_memory(self.path))

    def files(self) -> tuple[Fragment, ...]:
        """The files (or other fragments) in order, all of one format; raises where there is none or one is missing."""
        return vars(self).get(LISTED) or fragments_of(self.path, self.nested)

    def listed(self) -> Source:
        """This source with the files that there are now, for one run, which then looks for them once."""
        found = dataclasses.replace(self)
        vars(found)[LISTED] = self.files()
        return found

    def paths(self) -> list[Path]:
        """Those of its files, or its folder of images, that lie on this machine."""
        paths = [file.path if isinstance(file, ImageFolder) else file for file in self.files()]
        return [path for path in paths if isinstance(path, Path)]

    def fields(self) -> dict[str, str | None]:
        """Which field is the text, uid, group, label and image of a row; None: it has none."""
        text, image = (None, "image") if self._is_folder_of_images else (self.text, self.image)
        return {"text": text, "uid": self.uid, "group": self.group, "label": self.label, "image": image}

    def reading(self) -> dict[str, str | None]:
        """What else decides which rows there are, None where it is at its default: for records of an input."""
        given = {
            "text_rows": (self.text_rows, "line"),
            "on_error": (self.on_error, "refuse"),
            "limit": (self.limit, None),
        }
        return {name: None if value == default else str(value) for name, (value, default) in given.items()}

    def as_recorded(self, fields: Mapping[str, str | None]) -> Source:
        """This source read as it was when `fields` was recorded of it (`fields`, `reading`)."""
        named = {name: fields.get(name) for name in ("text", "uid", "group", "label", "image")}
        read = {name: value for name in self.reading() if (value := fields.get(name)) is not None}
        limit = read.pop("limit", None)
        return dataclasses.replace(self, **named, **read, limit=limit and int(limit))  # type: ignore[arg-type]

    @cached_property
    def _is_folder_of_images(self) -> bool:
        return isinstance(self.files()[0], ImageFolder)

    def has(self, part: str) -> bool:
        """Whether rows have `part`: texts, images, labels, groups."""
        return self.fields()[part.removesuffix("s")] is not None

    def raw_chunks(
        self, whole: bool = True, more: Sequence[str] = (), on_skip: SkipCallback = bad_rows.ignore
    ) -> Iterator[Chunk]:
        """Rows as they stand; not `whole`: only the columns that make a record and `more`, in formats with columns."""
        fragments, start = self.files(), 0
        names = [*more, *filter(None, self.fields().values())]
        check_fragments(fragments, [field for name in names for field in names_of(name)])
        found = self.rows_from(fragments, 0, START, None if whole else self.names(more), on_skip)
        for index, (number, rows) in enumerate(found):
            if self.limit is not None and start + len(rows) > self.limit:
                rows = rows.take(range(self.limit - start))
            yield Chunk(index, start, rows, file=number)
            start += len(rows)
            if start == self.limit:
                return

    def rows_from(
        self,
        fragments: Sequence[Fragment],
        first: int,
        begin: Begin,
        names: Sequence[str] | None,
        on_skip: SkipCallback = bad_rows.ignore,
    ) -> Iterator[tuple[int, Rows]]:
        """The rows of each chunk from `begin` in fragment number `first` on, with the number of its first fragment."""
        options = self.read_options()
        pieces = (
            (number, rows)
            for number in range(first, len(fragments))
            for rows in format_of(fragments[number]).read(
                fragments[number], options, names, begin if number == first else START
            )
        )
        for number, rows in join_small(pieces, options):
            kept = self.without_bad(rows, on_skip)
            if len(kept):
                yield number, kept

    def without_bad(self, rows: Rows, on_skip: SkipCallback = bad_rows.ignore) -> Rows:
        """`rows` without those that are skipped; all of them unless `on_error` says so."""
        if self.on_error == "refuse":
            return rows
        return without_bad(rows, lambda some: self.parsed(Chunk(0, 0, some)), on_skip)

    def read_options(self) -> ReadOptions:
        """How large a chunk is at most, and how files are read."""
        return ReadOptions(self.chunk_rows, self.chunk_bytes, self.text_rows, self.on_error == "skip")

    def names(self, more: Sequence[str] = ()) -> list[str] | None:
        """The fields that make a record, and `more`; None where a row is known by all its fields."""
        used = self.fields()
        if used["text"] is None and used["image"] is None and self.uid is None:
            return None
        return [field for name in [*more, *filter(None, used.values())] for field in names_of(name)]

    def parsed(self, chunk: Chunk) -> Chunk:
        """`chunk` with texts, images, groups, labels and given uids, each checked by itself."""
        used, rows = self.fields(), chunk.rows
        wanted = [name for name in used.values() if name is not None]
        values = dict(zip(wanted, values_of(rows, wanted), strict=True))

        def of(kind: str, check: Callable[[Rows, str, Sequence[object]], list[T]]) -> list[T] | None:
            name = used[kind]
            return None if name is None else check(rows, name, values[name])

        return dataclasses.replace(
            chunk,
            texts=of("text", field_values.texts) or [],
            images=of("image", field_values.images),
            groups=of("group", field_values.names),
            labels=of("label", field_values.labels),
            uids=of("uid", field_values.names) or [],
        )

    def vectors(self, chunk: Chunk, name: str) -> np.ndarray:
        """The field `name` of `chunk`, lists of finite numbers of one length, as float32 [n, d].

        One number a row comes as [n, 1].
        """
        return field_values.vectors(chunk.rows, name)

    def field_texts(self, chunk: Chunk, name: str) -> list[str]:
        """The field `name` of `chunk`, or what else stands for one (see corpus/text_fields), which must hold texts."""
        return field_values.texts(chunk.rows, name, values_of(chunk.rows, [name])[0])

    def chunks(self, more: Sequence[str] = (), on_skip: SkipCallback = bad_rows.ignore) -> Iterator[Chunk]:
        """All rows, parsed; uids only where they are given. Of columns that make no record only `more` are read."""
        return map(self.parsed, self.raw_chunks(False, more, on_skip))

    def identified(self, more: Sequence[str] = (), on_skip: SkipCallback = bad_rows.ignore) -> Iterator[Chunk]:
        """All rows, parsed, with uids; raises ValueError at the second row of a given uid. `more` as for `chunks`."""
        seen = uids.SeenHashes()
        for chunk in self.chunks(more, on_skip):
            if self.uid is None:
                yield dataclasses.replace(chunk, uids=uids.content_uids(chunk.contents(), seen))
                continue
            keys = uids.hash64(chunk.uids)
            for index in np.flatnonzero(seen.count_and_add(keys)).tolist():
                self._refuse_repeated(chunk, index)
            yield dataclasses.replace(chunk, keys=keys)

    def _refuse_repeated(self, chunk: Chunk, index: int) -> None:
        """Look for the first row of the uid: equal hashes of unequal uids are no error."""
        uid = chunk.uids[index]
        for earlier in self.chunks():
            names = chunk.uids[:index] if earlier.index == chunk.index else earlier.uids
            if uid in names:
                first = earlier.rows.location(names.index(uid))
                raise ValueError(f"{chunk.rows.location(index)}: uid {uid!r} was already used in {first}")
            if earlier.index == chunk.index:
                return


def as_source(source: CorpusLike | Source) -> Source:
    """A `Source` from itself or from what its `path` may be."""
    return source if isinstance(source, Source) else Source(source)
