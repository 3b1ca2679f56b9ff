"""Where outputs are made before they are seen: a hidden folder beside them, held by a lock while its process lives.

    .NAME.partial-0123456789abcdef   being made; or what an exchange has put in its place, to be removed
    .NAME.old-0123456789abcdef       the output that was there, between the two renames of an exchange in two steps

A lock ends with its process, however that ends: a leftover is a folder of this name whose lock nobody has. `recover`
removes it; where a process was killed between the two renames, it puts the old output back first.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from prunekernels.io.paths import walk
from prunekernels.io.renames import rename_folder, sync_path

_LEFTOVER = re.compile(r"\.(.+)\.(partial|old)-([0-9a-f]{16})", re.DOTALL)
# with the additions a name must not get longer than file systems take
_LONGEST = 200


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A new folder beside `target` for what will be renamed to it; it is removed in the end, with all that it holds."""
    folder, handle = _new_folder(target)
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)


def old_name(partial: Path) -> Path:
    """Where an exchange in two steps puts the output that gives way to `partial`."""
    head, _, number = partial.name.rpartition(".partial-")
    return partial.with_name(f"{head}.old-{number}")


def recover(target: Path) -> None:
    """Remove or put back what killed processes left beside `target`; what a living one holds stays.

    Where the name `target` was taken since, an old output that cannot be put back is kept as "NAME.recovered-...".
    """
    _recover(target.parent, _stem(target.name), target)


def recover_all(folder: Path) -> None:
    """As `recover`, for all outputs in `folder` and in the folders below it; for one that only this process writes."""
    for place, names, _ in walk(folder):
        _recover(Path(place), None, None)
        names[:] = [name for name in names if not _LEFTOVER.fullmatch(name)]


def _recover(parent: Path, stem: str | None, target: Path | None) -> None:
    try:
        found = sorted(entry.name for entry in os.scandir(parent))
    except (FileNotFoundError, NotADirectoryError):
        return
    # "old" sorts before "partial": it is put back while the other still tells that it has to be
    for name in found:
        match = _LEFTOVER.fullmatch(name)
        if match is None or (stem is not None and match[1] != stem):
            continue
        if match[2] == "partial":
            _remove_leftover(parent / name)
        else:
            _recover_old(parent / name, target or parent / match[1])


def _recover_old(old: Path, target: Path) -> None:
    head, _, number = old.name.rpartition(".old-")
    partial = old.with_name(f"{head}.partial-{number}")
    if not partial.is_dir():
        # the exchange was done but for this
        shutil.rmtree(old, ignore_errors=True)
        return
    handle = _hold(partial)
    if handle is None:
        return
    try:
        try:
            rename_folder(old, target)
        except FileExistsError:
            rename_folder(old, target.with_name(f"{target.name[:_LONGEST]}.recovered-{number}"))
        sync_path(old.parent)
    finally:
        os.close(handle)


def _remove_leftover(folder: Path) -> None:
    handle = _hold(folder)
    if handle is not None:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)


def _new_folder(target: Path) -> tuple[Path, int]:
    """A folder that is held, and the handle that holds it."""
    while True:
        folder = target.with_name(f".{_stem(target.name)}.partial-{secrets.token_hex(8)}")
        os.mkdir(folder)
        try:
            handle = _hold_new(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if handle is not None:
            return folder, handle


def _hold_new(folder: Path) -> int | None:
    """A handle that holds `folder`; None where another process took it for a leftover before."""
    handle = None
    try:
        handle = os.open(folder, os.O_RDONLY)
        lock(handle)
        if os.path.samestat(os.fstat(handle), os.stat(folder)):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        if handle is not None:
            os.close(handle)
        raise
    if handle is not None:
        os.close(handle)
    return None


def _hold(folder: Path) -> int | None:
    """A handle that holds the lock of `folder`; None where another process has it, or nobody can tell."""
    try:
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
    try:
        if lock(handle):
            return handle
    except BlockingIOError:
        pass
    os.close(handle)
    return None


def lock(handle: int) -> bool:
    """Lock an open file or folder for this process; raises BlockingIOError where another has it.

    False where the file system knows no locks.
    """
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EBADF):
            return False
        raise
    return True


def _stem(name: str) -> str:
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST else blake2b(encoded, digest_size=16).hexdigest()
