"""A fault at the n-th operation on the file system: the process is killed, or an error is raised in its place."""

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prunekernels.io import renames

OPERATIONS = [
    *((os, name) for name in ("mkdir", "open", "fsync", "rename", "replace", "link", "unlink", "rmdir", "scandir")),
    *((module, "open") for module in (io, builtins)),
    *((renames, name) for name in ("_renameat2", "_sync_file_system")),
]


@contextmanager
def fault_at(number: int, fault: Callable[[], None], more: Sequence[tuple[object, str]] = ()) -> Iterator[list[str]]:
    """Call `fault` before operation `number`, counted from 0; yields the names of the operations so far.

    `more` are operations beside the usual ones: a module or class, and the name of a function in it.
    """
    seen: list[str] = []
    operations = [*OPERATIONS, *more]
    real = [getattr(module, name) for module, name in operations]

    def counted(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def operation(*args: object, **options: object) -> object:
            seen.append(name)
            if len(seen) == number + 1:
                fault()
            return call(*args, **options)

        return operation

    for (module, name), call in zip(operations, real, strict=True):
        setattr(module, name, counted(name, call))
    try:
        yield seen
    finally:
        for (module, name), call in zip(operations, real, strict=True):
            setattr(module, name, call)


def killed_at(number: int, action: Callable[[], None]) -> bool:
    """Run `action` in a process that is killed before operation `number`; whether it came to that."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with fault_at(number, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                action()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the action failed without a fault"
    return os.WIFSIGNALED(status)


def full_disk() -> None:
    """What a full disk raises."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted() -> None:
    """What Ctrl-C raises."""
    raise KeyboardInterrupt
