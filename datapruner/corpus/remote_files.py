"""Files behind fsspec URLs, as in s3://bucket/corpus.jsonl.gz or memory://a.parquet; local files stay paths.

Keys and other options come from fsspec's own configuration: a URL with a password in it would end up in error
messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeAlias

from prunekernels.extras import require


@dataclass(frozen=True)
class RemoteFile:
    """One remote file."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.url).name

    def open(self) -> BinaryIO:
        """The file for reading; it can be sought in."""
        filesystem, path = require("fsspec", "data").url_to_fs(self.url)
        return filesystem.open(path, "rb")

    def info(self) -> Mapping[str, object]:
        """What the file system says of the file: its size, and more where it has it."""
        filesystem, path = require("fsspec", "data").url_to_fs(self.url)
        return filesystem.info(path)


AnyFile: TypeAlias = Path | RemoteFile


def open_file(file: AnyFile) -> BinaryIO:
    """`file` for reading its bytes."""
    return file.open() if isinstance(file, RemoteFile) else open(file, "rb")


def is_url(path: str | Path) -> bool:
    """Whether `path` is the URL of something that is no local path."""
    return isinstance(path, str) and "://" in path


def list_files(url: str) -> list[RemoteFile | Path]:
    """The file at `url`, or the files of the folder there, by name; a local file comes back as its path."""
    try:
        filesystem, path = require("fsspec", "data").url_to_fs(url)
    except ValueError as error:
        raise ValueError(f"{url}: want a URL that fsspec knows: {error}") from error
    protocol = filesystem.protocol if isinstance(filesystem.protocol, str) else filesystem.protocol[0]
    if protocol == "file":
        return [Path(path)]
    if filesystem.isdir(path):
        names = [entry["name"] for entry in filesystem.ls(path, detail=True) if entry["type"] == "file"]
        return [RemoteFile(filesystem.unstrip_protocol(name)) for name in sorted(names)]
    if not filesystem.exists(path):
        raise FileNotFoundError(f"{url}: no such file")
    return [RemoteFile(url)]
