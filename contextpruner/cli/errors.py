"""What goes wrong and a user can mend: one line on standard error, and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer


@contextmanager
def clear_errors() -> Iterator[None]:
    """What a user can mend is one line on standard error and exit code 2."""
    try:
        yield
    except BrokenPipeError:
        # whoever read us has seen enough; leave nothing for the interpreter to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, ImportError) as error:
        _fail(error)
    except KeyboardInterrupt:
        typer.echo("contextpruner: stopped; a file that was to be written is as it was", err=True)
        raise typer.Exit(130) from None


def _fail(error: Exception) -> NoReturn:
    text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    typer.echo(f"contextpruner: {line}", err=True)
    raise typer.Exit(2)
