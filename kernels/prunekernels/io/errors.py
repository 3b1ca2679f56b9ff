"""Errors for the three command lines: what a user can mend is one line that names the place, and an exit code.

    0    done, also where the reader of a pipe has seen enough
    2    the user's: a wrong value, a file that is missing or broken, a full disk, a package that is not installed
    130  stopped by Ctrl-C

Anything else is ours, and keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prunekernels.io.escape import one_line as in_one_line

# a ValueError, OSError or ImportError is raised for what comes from outside; memory is the machine's
USER_ERRORS = (ValueError, OSError, ImportError, MemoryError)
FAILED, STOPPED = 2, 130
LONGEST = 1000


def one_line(error: BaseException) -> str:
    """What `error` says, in one line for a terminal: with the file where it has one, and nothing that steers."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        return in_one_line(f"{' -> '.join(names) or error.filename}: {error.strerror}", LONGEST)
    if isinstance(error, MemoryError) and not str(error):
        return "there is not enough memory"
    # of a library's many lines the first says what is wrong
    lines = (line.strip() for line in str(error).splitlines())
    line = next((line for line in lines if line), type(error).__name__)
    return in_one_line(f"{type(error).__name__}: {line}" if isinstance(error, KeyError) else line, LONGEST)


@contextmanager
def user_errors(say: Callable[[str], None], stopped: str) -> Iterator[None]:
    """End the process as told above: `say` shows a line on standard error, `stopped` is the line for Ctrl-C."""
    try:
        yield
    except BrokenPipeError:
        # leave nothing for the interpreter to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except USER_ERRORS as error:
        say(one_line(error))
        raise SystemExit(FAILED) from error
    except KeyboardInterrupt:
        say(stopped)
        raise SystemExit(STOPPED) from None
