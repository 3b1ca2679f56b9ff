"""The corpus: files, data sets, arrays or images, read in chunks of rows and never whole.

A row has a text, an image or both, or neither where only its vectors matter; a uid (a given column, or content hash
plus occurrence, see corpus/uids); and, where columns are named for them, a group and a label. A folder stands for the
files of one format in it, in the order of their names; folders inside it are not entered. In a folder of images
the fields are "image", "file" and "folder", the class: `label="folder"` makes it the label.

Chunks end where a file ends, after `chunk_rows` rows, or before the row that would take them over `chunk_bytes`
(what bytes are, each format says): they hang on nothing but the rows and these two fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from datapruner.corpus import field_values, uids
from datapruner.corpus.chunks import Chunk
from datapruner.corpus.format import Limits, Rows
from datapruner.corpus.formats.image_folder import ImageFolder
from datapruner.corpus.fragments import CorpusLike, Fragment, format_of, fragments_of, wrap_in_memory

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """Where the rows are, and which fields are text, uid, group, label and image.

    `path`: a file, a folder, a URL that fsspec knows, or a list of them; "hf://datasets/<owner>/<name>" or a
    `HubDataset`; a `datasets` data set; or arrays by name. `tokens`: a folder or hub id whose tokenizer counts the
    tokens; None estimates them. `text` is None, or not looked at, where a folder of images has none.
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

    def __post_init__(self) -> None:
        for name in ("chunk_rows", "chunk_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"want {name} of at least 1, got {getattr(self, name)}")
        object.__setattr__(self, "path", wrap_in_memory(self.path))

    def files(self) -> tuple[Fragment, ...]:
        """The files (or other fragments) in order, all of one format; raises where there is none or one is missing."""
        return fragments_of(self.path)

    def paths(self) -> list[Path]:
        """Those of its files, or its folder of images, that lie on this machine."""
        paths = [file.path if isinstance(file, ImageFolder) else file for file in self.files()]
        return [path for path in paths if isinstance(path, Path)]

    def fields(self) -> dict[str, str | None]:
        """Which field is the text, uid, group, label and image of a row; None: it has none."""
        text, image = (None, "image") if self._is_folder_of_images else (self.text, self.image)
        return {"text": text, "uid": self.uid, "group": self.group, "label": self.label, "image": image}

    @cached_property
    def _is_folder_of_images(self) -> bool:
        return isinstance(self.files()[0], ImageFolder)

    def has(self, part: str) -> bool:
        """Whether rows have `part`: texts, images, labels, groups."""
        return self.fields()[part.removesuffix("s")] is not None

    def raw_chunks(self, whole: bool = True, more: Sequence[str] = ()) -> Iterator[Chunk]:
        """Rows as they stand; not `whole`: only the columns that make a record and `more`, in formats with columns."""
        index = start = 0
        names = None if whole else self.names(more)
        for number, fragment in enumerate(self.files()):
            for rows in format_of(fragment).read(fragment, self.limits(), names):
                yield Chunk(index, start, rows, file=number)
                index, start = index + 1, start + len(rows)

    def limits(self) -> Limits:
        """How large a chunk is at most."""
        return Limits(self.chunk_rows, self.chunk_bytes)

    def names(self, more: Sequence[str] = ()) -> list[str] | None:
        """The fields that make a record, and `more`; None where a row is known by all its fields."""
        used = self.fields()
        if used["text"] is None and used["image"] is None and self.uid is None:
            return None
        return [*more] + [name for name in used.values() if name is not None]

    def parsed(self, chunk: Chunk) -> Chunk:
        """`chunk` with texts, images, groups, labels and given uids, each checked by itself."""
        used, rows = self.fields(), chunk.rows
        wanted = [name for name in used.values() if name is not None]
        values = dict(zip(wanted, rows.fields(wanted), strict=True))

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
        """The field `name` of `chunk`, which must hold texts."""
        return field_values.texts(chunk.rows, name, chunk.rows.fields([name])[0])

    def chunks(self, more: Sequence[str] = ()) -> Iterator[Chunk]:
        """All rows, parsed; uids only where they are given. Of columns that make no record only `more` are read."""
        return map(self.parsed, self.raw_chunks(whole=False, more=more))

    def identified(self, more: Sequence[str] = ()) -> Iterator[Chunk]:
        """All rows, parsed, with uids; raises ValueError at the second row of a given uid. `more` as for `chunks`."""
        seen = uids.SeenHashes()
        for chunk in self.chunks(more):
            if self.uid is None:
                yield dataclasses.replace(chunk, uids=uids.content_uids(chunk.contents(), seen))
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
                first = earlier.rows.location(names.index(uid))
                raise ValueError(f"{chunk.rows.location(index)}: uid {uid!r} was already used in {first}")
            if earlier.index == chunk.index:
                return


def as_source(source: CorpusLike | Source) -> Source:
    """A `Source` from itself or from what its `path` may be."""
    return source if isinstance(source, Source) else Source(source)
