"""Renames that refuse to replace, names exchanged in one step, and waiting until the disk has what was written.

Linux does both renames in one call, renameat2. Elsewhere, and on file systems that lack it, a file gets a new name
by a hard link, which refuses one that is taken, and `exchange` says that it cannot.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from pathlib import Path

from prunekernels.io.paths import walk

_NO_REPLACE, _EXCHANGE, _HERE = 1, 2, -100
# what systems and file systems say to a call that they do not know; a sandbox says that it is not allowed
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)
# from so many files on the whole file system is written in one call: a thousand waits take longer
_MANY = 256


def rename_new(source: Path, target: Path) -> None:
    """Rename the file `source` to `target`; raises FileExistsError where that name is taken, at any moment."""
    if _renameat2(source, target, _NO_REPLACE):
        return
    try:
        os.link(source, target, follow_symlinks=False)
        os.unlink(source)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        # no links either: the name is taken first, by a file that is nobody else's
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(source, target)


def rename_folder(source: Path, target: Path) -> None:
    """Rename the folder `source` to `target`, a free name or an empty folder; raises FileExistsError otherwise."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, "something has taken this name meanwhile", str(target)) from None
        raise


def exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step, so that each is always there; False, with nothing done, where that is not known."""
    return _renameat2(one, other, _EXCHANGE)


def sync_path(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Wait until every file and folder in `folder`, and itself, are on disk."""
    paths = [folder]
    for place, _, names in walk(folder):
        paths.append(Path(place))
        paths += [Path(place) / name for name in names]
    if len(paths) > _MANY and _sync_file_system(folder):
        return
    for path in paths:
        if not path.is_symlink():
            sync_path(path)


def _renameat2(source: Path, target: Path, flags: int) -> bool:
    """Whether the system did it; False where it knows no such rename."""
    call = _libc_function("renameat2")
    if call is None:
        return False
    if call(_HERE, os.fsencode(source), _HERE, os.fsencode(target), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))


def _sync_file_system(folder: Path) -> bool:
    call = _libc_function("syncfs")
    if call is None:
        return False
    handle = os.open(folder, os.O_RDONLY)
    try:
        return call(handle) == 0
    finally:
        os.close(handle)


@cache
def _libc_function(name: str) -> ctypes._NamedFuncPointer | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)
