"""Writing that is seen whole or not at all: under a temporary name, then renamed; one writer at a time."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"
TEMPORARY = ".tmp-"


@contextmanager
def path_in_errors(path: Path) -> Iterator[None]:
    """An error of the machine that does not say where (a full disk) is raised again with `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None or str(path) in str(error):
            raise
        raise OSError(error.errno, f"{path} could not be written, what was there is untouched: {error}") from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary name in `path`'s folder, renamed to `path` when the block ends well and removed when not."""
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        with path_in_errors(path):
            yield temporary
            _fsync(temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this writer; raises BlockingIOError at once where another one has it."""
    import fcntl

    with open(folder / LOCK, "ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            raise BlockingIOError(f"{folder} is in use: another process is scoring into it") from busy
        yield


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed writer left under temporary names; the caller holds the lock."""
    for leftover in folder.rglob(f"{TEMPORARY}*"):
        leftover.unlink()


def check_new_folder(out: Path, overwrite: bool) -> None:
    """Raise where `atomic_folder` would not put its folder."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ValueError(f"want a folder or a free name as output, got the file or link {out}")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise ValueError(f"{out} is not empty: want a new folder, or overwrite=True (--overwrite)")


@contextmanager
def atomic_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its name when the block ends well and vanishes when not."""
    check_new_folder(out, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(out)
    partial = out.with_name(f".{out.name}.partial-{secrets.token_hex(4)}")
    partial.mkdir()
    try:
        # a lock ends with its process, however that ends: it tells the living from the abandoned
        with _locked(partial), path_in_errors(out):
            yield partial
            for path in partial.iterdir():
                _fsync(path)
            _fsync(partial)
            _swap_in(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fsync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk: a rename must not come there before them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder itself; raises BlockingIOError where another process does."""
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _swap_in(partial: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old-{secrets.token_hex(4)}")
    if out.exists():
        out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_abandoned(out: Path) -> None:
    """Partial folders of writers that were killed: nobody holds their lock."""
    for folder in out.parent.glob(f".{out.name}.partial-*"):
        with suppress(BlockingIOError, FileNotFoundError), _locked(folder):
            shutil.rmtree(folder, ignore_errors=True)
