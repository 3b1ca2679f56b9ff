"""What is written to URLs that fsspec knows: finished files are copied there, the mark that says so comes last.

Stores of objects know neither renames nor locks. So nothing there is replaced, and what is made in steps, a score
table, is refused: it lies on a disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from datapruner.corpus.remote_files import filesystem_of, server_errors
from prunekernels.io.marks import MARK

# `Path` makes one slash of two
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)


def url_of(path: str | Path) -> str | None:
    """The URL that `path` is, None where it is a path of this machine, as also file:///folder is one."""
    found = _URL.fullmatch(str(path))
    if found is None or Path(path).exists():
        return None
    protocol, rest = found.groups()
    return None if protocol in ("file", "local") else f"{protocol}://{rest}"


def local_path(path: str | Path) -> Path:
    """`path`, which may be a file:// URL, on this machine; raises ValueError for the URL of a score table elsewhere."""
    if (url := url_of(path)) is not None:
        raise ValueError(
            f"want a folder of this machine for the score table, or one that it mounts, got {url}: a table is made "
            "file by file, with locks and renames that stores of objects lack; copy it there when it is complete"
        )
    return Path(re.sub(r"^(file|local):/+", "/", str(path)))


def check_remote(url: str) -> None:
    """Raise ValueError where something is at `url` already, and what its file system raises where it is not reached."""
    with server_errors(url, "written"):
        filesystem, path = filesystem_of(url)
        there = filesystem.exists(path) and not (filesystem.isdir(path) and not filesystem.ls(path))
    if there:
        raise ValueError(f"{url} is there already, and at a URL nothing is replaced: want another name")


@contextmanager
def remote_copy(url: str) -> Iterator[Path]:
    """A name in a folder of this machine; the file or folder that is made there is copied to `url` in the end."""
    check_remote(url)
    with TemporaryDirectory() as folder:
        made = Path(folder) / (url.rstrip("/").rpartition("/")[2] or "out")
        yield made
        check_remote(url)
        _copy(made, url.rstrip("/"))


def _copy(made: Path, url: str) -> None:
    with server_errors(url, "written"):
        filesystem, path = filesystem_of(url)
        if made.is_file():
            filesystem.makedirs(filesystem._parent(path), exist_ok=True)
            filesystem.put_file(str(made), path)
            return
        files = sorted(file.relative_to(made).as_posix() for file in made.rglob("*") if file.is_file())
        # a folder without its mark is not complete
        for name in sorted(files, key=lambda name: (name == MARK, name)):
            target = f"{path}/{name}"
            filesystem.makedirs(filesystem._parent(target), exist_ok=True)
            filesystem.put_file(str(made / name), target)
