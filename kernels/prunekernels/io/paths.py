"""Names and paths that come out of files, and files of a bounded size.

What somebody else wrote may name a column, a part or a picture, and never a place of this machine: a name is one part
of a path, a path stays inside its root, a file is a regular one (a pipe would hang, a device has no end).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path, PurePosixPath, PureWindowsPath

# what file systems take as one name, in bytes
LONGEST_NAME = 255


def check_name(name: object, place: str) -> str:
    """`name` as a name that may become a file or folder; raises ValueError, beginning with `place`, for others.

    A name is text of 1 to 255 bytes of UTF-8 without slashes, backslashes and control characters, that begins with
    no dot (hidden files are ours) and ends in no space or dot. `place` says where the name stands, as in
    "scores/manifest.json: columns".
    """
    if not isinstance(name, str):
        raise ValueError(f"{place}: want a name, got {name!r:.80}")
    is_plain = name.isprintable() and not any(letter in name for letter in "/\\")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        is_plain, size = False, 0
    if not is_plain or not 0 < size <= LONGEST_NAME or name[0] == "." or name[-1] in " .":
        raise ValueError(f"{place}: want a name that is no path, got {name!a:.120}")
    return name


def path_inside(root: Path, relative: object, place: str, *, links_may_leave: bool = False) -> Path:
    """The path `relative`, written with forward slashes, in the folder `root`; it need not exist.

    Raises ValueError, beginning with `place`, where it is absolute, has ".." in it, or where a symbolic link on the
    way leads out of `root`. `links_may_leave` takes such links: for folders whose owner makes them, as the hub's
    cache does, and whose files are only ever read by a parser, never shown or copied.
    """
    if not isinstance(relative, str) or "\0" in relative or not relative.isprintable():
        raise ValueError(f"{place}: want a path inside {root}, got {relative!a:.120}")
    way, elsewhere = PurePosixPath(relative), PureWindowsPath(relative)
    leaves = ".." in way.parts or ".." in elsewhere.parts
    if way.is_absolute() or elsewhere.anchor or leaves:
        raise ValueError(f"{place}: want a path inside {root}, got {relative!a:.120}")
    path = root / way
    if not links_may_leave and not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{place}: want a path inside {root}, got {relative!a:.120}, a link that leads out of it")
    return path


def walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk, but a folder that cannot be listed is an OSError, not passed over; one that is gone is none."""

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    return os.walk(folder, onerror=failed)


def open_regular(path: Path, *, max_bytes: int | None = None, place: str = "") -> BufferedReader:
    """The regular file at `path`, opened for reading; links are followed.

    Raises ValueError, beginning with `place` (default: the path), for a folder, pipe, socket or device, without
    opening or waiting for it, and for a file of more than `max_bytes`; OSError as `open` does.
    """
    place = place or str(path)
    _check_regular(os.stat(path), place, max_bytes)
    # it may have become a pipe since: without O_NONBLOCK this would wait for a writer
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        _check_regular(os.fstat(descriptor), place, max_bytes)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, max_bytes: int, *, place: str = "") -> bytes:
    """The bytes of a regular file, at most `max_bytes` of them; raises as `open_regular` does."""
    with open_regular(path, max_bytes=max_bytes, place=place) as file:
        # a file that grows meanwhile is not read past the bound
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"{place or path}: want at most {max_bytes:,} bytes, got more")
    return data


def _check_regular(found: os.stat_result, place: str, max_bytes: int | None) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{place}: want a file, got {_kind(found.st_mode)}")
    if max_bytes is not None and found.st_size > max_bytes:
        raise ValueError(f"{place}: want at most {max_bytes:,} bytes, got {found.st_size:,}")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
