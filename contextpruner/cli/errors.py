"""What goes wrong and a user can mend: one line on standard error, and an exit code (`prunekernels.io.errors`)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import typer

from prunekernels.io.errors import user_errors
from prunekernels.io.escape import one_line


def clear_errors() -> AbstractContextManager[None]:
    """What a user can mend is one line on standard error and exit code 2."""
    return user_errors(say, "contextpruner: stopped; a file that was to be written is as it was")


def say(line: str) -> None:
    """A line on standard error that begins with our name."""
    typer.echo(line if line.startswith("contextpruner: ") else f"contextpruner: {line}", err=True)


def say_done(output: Path, done: str) -> None:
    """What was written to `output`: on standard output, but where that is the output itself."""
    typer.echo(f"{one_line(str(output))}: {done}", err=str(output) == "-")
