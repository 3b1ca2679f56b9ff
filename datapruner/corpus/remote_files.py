"""Files behind fsspec URLs, as in s3://bucket/corpus.jsonl.gz or memory://a.parquet; local files stay paths.

Keys and other options come from fsspec's own configuration: a URL with a password in it would end up in error
messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

from prunekernels.extras import require

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


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
        """The file for reading; it can be sought in. What goes wrong with a server is an OSError that names the URL."""
        with server_errors(self.url):
            filesystem, path = filesystem_of(self.url)
            return cast(BinaryIO, _Opened(filesystem.open(path, "rb"), self.url))

    def info(self) -> Mapping[str, object]:
        """What the file system says of the file: its size, and more where it has it."""
        with server_errors(self.url):
            filesystem, path = filesystem_of(self.url)
            return filesystem.info(path)


@dataclass
class _Opened:
    """An open remote file whose errors name its URL."""

    file: BinaryIO
    url: str

    @property
    def closed(self) -> bool:
        return self.file.closed

    def read(self, size: int = -1) -> bytes:
        with server_errors(self.url):
            return self.file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        with server_errors(self.url):
            return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.file.seekable()

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def server_errors(url: str, done: str = "read") -> Iterator[None]:
    """Whatever a client of some server raises, as an OSError of one line that names the URL."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except FileNotFoundError:
        raise FileNotFoundError(f"{url}: no such file") from None
    except Exception as error:  # noqa: BLE001 - each protocol has a library with errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise OSError(f"{url} cannot be {done}: {type(error).__name__}: {reason:.300}") from error


def filesystem_of(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of `url` and the path in it; raises ValueError where nobody knows the protocol."""
    fsspec = require("fsspec", "data")
    try:
        return fsspec.url_to_fs(url)
    except ImportError as error:
        extra = "http" if url.startswith("http") else None
        line = f': pip install "prunekit[{extra}]"' if extra else ""
        raise ImportError(f"{url} needs a package that is not installed{line} ({error})", name=error.name) from error
    except ValueError as error:
        raise ValueError(f"{url}: want a URL that fsspec knows: {error}") from error


AnyFile: TypeAlias = Path | RemoteFile


def open_file(file: AnyFile) -> BinaryIO:
    """`file` for reading its bytes."""
    return file.open() if isinstance(file, RemoteFile) else open(file, "rb")


def is_url(path: str | Path) -> bool:
    """Whether `path` is the URL of something that is no local path."""
    return isinstance(path, str) and "://" in path


def list_files(url: str, nested: bool = False) -> list[RemoteFile | Path]:
    """The file at `url`, or the files of the folder there, by name; a local file comes back as its path.

    A star in the URL stands for what the file system's own globs say. `nested`: folders inside are entered.
    """
    filesystem, path = filesystem_of(url)
    protocol = filesystem.protocol if isinstance(filesystem.protocol, str) else filesystem.protocol[0]
    if protocol == "file":
        return [Path(path)]
    with server_errors(url):
        # the page of a web server is no folder that could be relied on
        listed = protocol not in ("http", "https")
        if listed and "*" in path:
            names = [name for name in filesystem.glob(path) if filesystem.isfile(name)]
            if not names:
                raise FileNotFoundError(url)
            return [RemoteFile(filesystem.unstrip_protocol(name)) for name in sorted(names)]
        if listed and filesystem.isdir(path):
            if nested:
                return [RemoteFile(filesystem.unstrip_protocol(name)) for name in sorted(filesystem.find(path))]
            names = [entry["name"] for entry in filesystem.ls(path, detail=True) if entry["type"] == "file"]
            return [RemoteFile(filesystem.unstrip_protocol(name)) for name in sorted(names)]
        filesystem.info(path)
    return [RemoteFile(url)]
