"""A folder of images, in it or in class folders one level below: one row a file, in the order of their paths.

A row has three fields: "image", the bytes of the file; "file", its path in the folder; "folder", the class folder's
name, "" where the image lies in none. They are written back as files in a folder of the same form, with a
`metadata.jsonl` as `datasets` reads it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from datapruner.corpus.format import START, Begin, Note, ReadOptions, Rows
from prunekernels.io.paths import path_inside, read_regular

SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")
FIELDS = ("image", "file", "folder")
METADATA = "metadata.jsonl"
LARGEST_IMAGE = 256 << 20


@dataclass(frozen=True)
class ImageFolder:
    """The folder at `path`; `nested`: images may lie deeper than in class folders."""

    path: Path
    nested: bool = False

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @cached_property
    def files(self) -> list[str]:
        """The paths of the images in the folder, with forward slashes, sorted."""
        paths = self.path.rglob("*") if self.nested else (*self.path.glob("*"), *self.path.glob("*/*"))
        found = [path.relative_to(self.path) for path in paths if path.suffix.lower() in SUFFIXES]
        shown = [path for path in found if not any(part.startswith(".") for part in path.parts)]
        names = [path.as_posix() for path in shown if (self.path / path).is_file() or (self.path / path).is_symlink()]
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
    size: int
    broken: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files)

    def take(self, indices: Sequence[int]) -> ImageRows:
        return replace(self, files=[self.files[index] for index in indices])

    def source_of(self, index: int) -> ImageFolder:
        return self.folder

    def location(self, index: int) -> str:
        return str(self.folder.path / self.files[index])

    def fields(self, names: Sequence[str]) -> list[list[object]]:
        _check_fields(self.folder, names)
        return [[self._value(name, file) for file in self.files] for name in names]

    def _value(self, name: str, file: str) -> object:
        if name == "image":
            return self.folder.read(file)
        return file if name == "file" else file.rpartition("/")[0]

    def vectors(self, name: str) -> np.ndarray | None:
        return None

    def contents(self) -> list[bytes]:
        return [self.folder.read(file) for file in self.files]


def read(
    fragment: ImageFolder, options: ReadOptions, columns: Sequence[str] | None = None, begin: Begin = START
) -> Iterator[ImageRows]:
    """The images of `fragment` from `begin` on; the bytes of a chunk are those of its files."""
    _check_fields(fragment, columns or ())
    first, total = begin.offset, 0
    for index in range(first, len(fragment.files)):
        size = (fragment.path / fragment.files[index]).stat().st_size
        if index > first and (index - first == options.rows or total + size > options.bytes):
            yield ImageRows(fragment, fragment.files[first:index], Begin(first, first + 1), total)
            first, total = index, 0
        total += size
    if first < len(fragment.files):
        yield ImageRows(fragment, fragment.files[first:], Begin(first, first + 1), total)


def _check_fields(folder: ImageFolder, names: Sequence[str]) -> None:
    for name in names:
        if name not in FIELDS:
            raise ValueError(f"{folder}: want a column {name!r}, got {', '.join(FIELDS)}")


class Writer:
    """Copies images into the folder `path` and lists them in its metadata, a note as one more field."""

    def __init__(self, path: Path, like: Sequence[object], noted: Mapping[str, str] | None = None) -> None:
        self.path = path
        path.mkdir()
        self.list = open(path / METADATA, "w", encoding="utf-8")  # noqa: SIM115

    def write(self, rows: Rows, indices: Sequence[int], notes: Sequence[Note] | None = None) -> None:
        if not isinstance(rows, ImageRows):
            raise TypeError(f"want rows of an image folder, got {type(rows).__name__}")
        for position, index in enumerate(indices):
            name = rows.files[index]
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
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
