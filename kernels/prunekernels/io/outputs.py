"""Outputs that are seen whole or not at all, and that never cost anybody a file.

An output is made in a hidden folder beside it (`staging`) and renamed when it is done and on disk: whoever looks,
whatever kills the process, and whichever error is raised, Ctrl-C and a full disk among them, finds the old state or
the new one, and the next start clears away what was left. An output is never an input, nor a folder that holds one.
What is there already is only replaced where its caller allows that, and a folder only where it bears our mark and
holds nothing that was put into it since (`marks`); both are looked at again at the rename.

    with atomic_folder(Path("pruned"), "datapruner output", overwrite=True, inputs=["corpus.jsonl"]) as folder:
        (folder / "kept.jsonl").write_bytes(...)

    with atomic_text(Path("report.html"), replaces=has_mark(b'content="prunekit')) as file:
        file.write(page)
"""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, TypeAlias

from prunekernels.io.marks import MARK, check_mark, write_mark
from prunekernels.io.paths import walk
from prunekernels.io.renames import exchange, rename_folder, rename_new, sync_path, sync_tree
from prunekernels.io.staging import lock, old_name, recover, staging

# whether a file that is there may be replaced, or a test of it: of our own mark in it
Replaces: TypeAlias = "bool | Callable[[Path], bool]"
Identity: TypeAlias = "tuple[int, int]"

LOCK = ".lock"
# opened by their names these would be cut to nothing where they are files
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,6})")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def check_file(path: Path, *, replaces: Replaces = False, inputs: Iterable[str | Path] = ()) -> list[str]:
    """Raise ValueError where `atomic_file` would refuse `path`; returns what it would replace, for a dry run."""
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
    check_not_input(path, inputs)
    if not path.exists():
        return []
    if not (replaces(path) if callable(replaces) else replaces):
        raise ValueError(f"{path} is there already, and nothing that may be replaced: want another name")
    return [str(path)]


def check_folder(out: Path, kind: str, *, overwrite: bool = False, inputs: Iterable[str | Path] = ()) -> list[str]:
    """Raise ValueError where `atomic_folder` would refuse `out`; returns what it would replace, for a dry run."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ValueError(f"want a folder or a free name as output, got the file or link {out}")
    check_not_input(out, inputs)
    names = sorted(os.listdir(out)) if out.is_dir() else []
    if names and not overwrite:
        raise ValueError(f"{out} is not empty: want a new folder, or overwrite=True (--overwrite)")
    if names:
        check_mark(out, kind)
    return [str(out / name) for name in names]


def check_not_input(out: Path, inputs: Iterable[str | Path]) -> None:
    """Raise ValueError where `out` is one of `inputs`, by whichever name or link, holds one, or lies in one.

    What is no path that is there, say "-" or a URL, is passed over.
    """
    there = _identity(os.stat(out)) if out.exists() else None
    above: dict[Path, set[Identity]] = {}
    # of many files in one folder it is resolved once
    resolved: dict[Path, Path] = {}
    for given in inputs:
        path = Path(given)
        try:
            found = os.stat(path)
            if path.is_symlink() or path.name in ("", ".."):
                folder = path.resolve().parent
            else:
                folder = resolved.get(path.parent) or resolved.setdefault(path.parent, path.parent.resolve())
        except (OSError, ValueError):
            continue
        own = _identity(found)
        if own == there:
            raise ValueError(f"the output {out} is the input {path}: want another name")
        if folder not in above:
            above[folder] = _folders(folder)
        if there in above[folder]:
            raise ValueError(f"the output {out} holds the input {path}: want another folder")
        if stat.S_ISDIR(found.st_mode) and own in _folders(out.resolve().parent):
            raise ValueError(f"the output {out} lies in the input {path}: want another folder")


@contextmanager
def atomic_file(
    path: Path, *, replaces: Replaces = False, inputs: Iterable[str | Path] = (), recovers: bool = True
) -> Iterator[Path]:
    """A temporary path whose file becomes `path` when the block ends well; a link stays one to what is then written.

    `replaces` says whether a file that is there may go: never by default (then the rename itself refuses), or by a
    test of it. `recovers=False` leaves out the look for leftovers, for many files in a folder that has had its own
    (`recover_all`). Raises ValueError as `check_file` does, FileExistsError where the name was taken meanwhile.
    """
    path = path.resolve()
    if recovers:
        recover(path)
    check_file(path, replaces=replaces, inputs=inputs)
    with staging(path) as folder:
        temporary = folder / path.name
        with errors_name(path):
            yield temporary
            sync_path(temporary)
            _place_file(temporary, path, replaces)
        sync_path(path.parent)


@contextmanager
def atomic_text(path: Path, *, replaces: Replaces = False, inputs: Iterable[str | Path] = ()) -> Iterator[TextIO]:
    """As `atomic_file`, open for text in UTF-8; line feeds stay as they are.

    "-" is standard output. It, and what is no file, say /dev/stdout or a pipe, are written as it goes.
    """
    descriptor = _descriptor(path)
    if str(path) == "-" or descriptor == 1:
        with _standard_output() as file:
            yield file
    elif descriptor is not None or (path.exists() and not path.is_file() and not path.is_dir()):
        with open(path if descriptor is None else os.dup(descriptor), "w", encoding="utf-8", newline="") as file:
            yield file
    else:
        with (
            atomic_file(path, replaces=replaces, inputs=inputs) as temporary,
            open(temporary, "x", encoding="utf-8", newline="") as file,
        ):
            yield file


@contextmanager
def atomic_folder(
    out: Path, kind: str, *, overwrite: bool = False, inputs: Iterable[str | Path] = ()
) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well; its parents are made if need be.

    `kind` names what is written, say "datapruner output"; it stands in the folder's mark, and an `out` that is not
    empty is only replaced with `overwrite` and where its mark says the same. Raises ValueError as `check_folder`
    does, also where `out` was filled meanwhile.
    """
    inputs = [*inputs]
    recover(out)
    check_folder(out, kind, overwrite=overwrite, inputs=inputs)
    make_parents(out)
    with staging(out) as partial:
        with errors_name(out):
            yield partial
            write_mark(partial, kind)
            _share(partial)
            sync_tree(partial)
            check_folder(out, kind, overwrite=overwrite, inputs=inputs)
            _place_folder(partial, out, kind, overwrite)
        sync_path(out.parent)


def _share(folder: Path) -> None:
    """Give every file of `folder` the rights that a new file has here: some libraries keep theirs to the user."""
    rights = (folder / MARK).stat().st_mode & 0o666
    for place, _, names in walk(folder):
        for path in (Path(place) / name for name in names):
            if not path.is_symlink() and (before := path.stat().st_mode) & rights != rights:
                path.chmod(before | rights)


def make_parents(out: Path) -> None:
    """Make the folders above `out` that are missing; they are on disk then."""
    missing = [parent for parent in out.parents if not parent.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    for parent in missing:
        sync_path(parent.parent)


@contextmanager
def folder_lock(folder: Path, doing: str) -> Iterator[None]:
    """Hold `folder` for this process; raises BlockingIOError at once where another one has it.

    `doing` ends the message, as in "another process is scoring into it". The file `.lock` stays.
    """
    with open(folder / LOCK, "ab") as handle:
        try:
            lock(handle.fileno())
        except BlockingIOError as busy:
            raise BlockingIOError(f"{folder} is in use: another process is {doing}") from busy
        yield


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """An error of the machine that does not say where (a full disk) is raised again with `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None or str(path) in str(error):
            raise
        raise OSError(error.errno, f"{path} could not be written, what was there is untouched: {error}") from error


def _place_file(temporary: Path, path: Path, replaces: Replaces) -> None:
    if replaces is True:
        os.replace(temporary, path)
    elif not path.exists():
        rename_new(temporary, path)
    else:
        check_file(path, replaces=replaces)
        if not exchange(temporary, path):
            os.replace(temporary, path)
            return
        # what was there lies here now, out of everybody's reach: the last look at it
        try:
            check_file(temporary, replaces=replaces)
        except BaseException:
            exchange(temporary, path)
            raise


def _place_folder(partial: Path, out: Path, kind: str, overwrite: bool) -> None:
    # the rename refuses what has come since the last look
    if not overwrite or not out.is_dir() or not os.listdir(out):
        rename_folder(partial, out)
    elif exchange(partial, out):
        try:
            check_mark(partial, kind)
        except BaseException:
            exchange(partial, out)
            raise
    else:
        _exchange_in_two_steps(partial, out, kind)


def _exchange_in_two_steps(partial: Path, out: Path, kind: str) -> None:
    """For file systems that cannot do it in one; a process that is killed between leaves both, see `recover`."""
    old = old_name(partial)
    try:
        os.rename(out, old)
        check_mark(old, kind)
        rename_folder(partial, out)
    except BaseException:
        if old.exists() and partial.exists():
            rename_folder(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _descriptor(path: Path) -> int | None:
    """The open file of this process that `path` is a name of."""
    name = os.path.abspath(path)
    found = _DESCRIPTOR.fullmatch(name)
    return int(found[1]) if found else _STANDARD.get(name)


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    sys.stdout.flush()
    if not hasattr(sys.stdout, "buffer"):
        # somebody listens who wants text
        yield sys.stdout
        return
    file = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="", write_through=True)
    try:
        yield file
    finally:
        # else it would close the process's own
        file.detach()


def _folders(folder: Path) -> set[Identity]:
    """`folder` and all above it, as the file system knows them, whatever they are called."""
    found = set()
    for place in (folder, *folder.parents):
        with suppress(OSError):
            found.add(_identity(os.stat(place)))
    return found


def _identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino
