"""A folder of images, in it or in class folders one level below: one row a file, in the order of their paths.

A row has three fields: "image", the bytes of the file; "file", its path in the folder; "folder", the class folder's
name, "" where the image lies in none. They are written back as files in a folder of the same form, with a
`metadata.jsonl` as `datasets` reads it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from datapruner.corpus.format import START, Begin, Limits, Note, Rows
from prunekernels.io.paths import path_inside, read_regular

SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")
FIELDS = ("image", "file", "folder")
METADATA = "metadata.jsonl"
LARGEST_IMAGE = 256 << 20


@dataclass(frozen=True)
class ImageFolder:
    """The folder at `path`."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @cached_property
    def files(self) -> list[str]:
        """The paths of the images in the folder, with forward slashes, sorted."""
        found = [path for path in (*self.path.glob("*"), *self.path.glob("*/*")) if path.suffix.lower() in SUFFIXES]
        hidden = [path for path in found if path.name.startswith(".") or path.parent.name.startswith(".")]
        names = [path.relative_to(self.path).as_posix() for path in found if path not in hidden and path.is_file()]
        for name in names:
            # a link may show what lies elsewhere, and `write` would copy it
            path_inside(self.path, name, str(self.path))
        return sorted(names)

    def read(self, name: str) -> bytes:
        """The bytes of one image."""
        return read_regular(self.path / name, LARGEST_IMAGE)


@dataclass(frozen=True)
class ImageRows:
    """Consecutive images."""

    folder: ImageFolder
    files: list[str]
    begin: Begin

    def __len__(self) -> int:
        return len(self.files)

    def only(self, index: int) -> ImageRows:
        begin = Begin(self.begin.offset + index, self.begin.number + index)
        return ImageRows(self.folder, [self.files[index]], begin)

    def location(self, index: int) -> str:
        return str(self.folder.path / self.files[index])

    def fields(self, names: Sequence[str]) -> list[list[object]]:
        _check_fields(self.folder, names)
        return [[self._value(name, file) for file in self.files] for name in names]

    def _value(self, name: str, file: str) -> object:
        if name == "image":
            return self.folder.read(file)
        return file if name == "file" else file.rpartition("/")[0]

    @property
    def source(self) -> ImageFolder:
        return self.folder

    def vectors(self, name: str) -> np.ndarray | None:
        return None

    def contents(self) -> list[bytes]:
        return [self.folder.read(file) for file in self.files]


def read(
    fragment: ImageFolder, limits: Limits, columns: Sequence[str] | None = None, begin: Begin = START
) -> Iterator[ImageRows]:
    """The images of `fragment` from `begin` on; the bytes of a chunk are those of its files."""
    _check_fields(fragment, columns or ())
    first, total = begin.offset, 0
    for index in range(first, len(fragment.files)):
        size = (fragment.path / fragment.files[index]).stat().st_size
        if index > first and (index - first == limits.rows or total + size > limits.bytes):
            yield ImageRows(fragment, fragment.files[first:index], Begin(first, first + 1))
            first, total = index, 0
        total += size
    if first < len(fragment.files):
        yield ImageRows(fragment, fragment.files[first:], Begin(first, first + 1))


def _check_fields(folder: ImageFolder, names: Sequence[str]) -> None:
    for name in names:
        if name not in FIELDS:
            raise ValueError(f"{folder}: want a column {name!r}, got {', '.join(FIELDS)}")


class Writer:
    """Copies images into the folder `path` and lists them in its metadata, a note as one more field."""

    def __init__(self, path: Path, like: object, noted: Sequence[str] | None = None) -> None:
        self.path = path
        path.mkdir()
        self.list = open(path / METADATA, "w", encoding="utf-8")  # noqa: SIM115

    def write(self, rows: Rows, indices: Sequence[int], notes: Sequence[Note] | None = None) -> None:
        if not isinstance(rows, ImageRows):
            raise TypeError(f"want rows of an image folder, got {type(rows).__name__}")
        for position, index in enumerate(indices):
            name = rows.files[index]
            target = self.path / name
            target.parent.mkdir(exist_ok=True)
            # not shutil.copy: a copy must not take over rights, which may forbid to delete it
            target.write_bytes(rows.folder.read(name))
            line: dict[str, object] = {"file_name": name}
            if "/" in name:
                line["label"] = name.partition("/")[0]
            if notes is not None:
                line["prunekit"] = dataclasses.asdict(notes[position])
            self.list.write(json.dumps(line, ensure_ascii=False) + "\n")

    def close(self) -> None:
        self.list.close()
