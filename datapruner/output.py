"""Where the pruned corpus goes, and what is written of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Output:
    """Where and how to write: an existing folder is only replaced with `overwrite`, `dropped` rows are written too.

    `scores` is the folder of the score table: `prune` makes it or goes on with it (default: `path` + ".scores"),
    `write` reads it for the `report`, which is left out where that is False. `index`: list the kept
    row numbers and uids in two files more.
    """

    path: str | Path
    overwrite: bool = False
    dropped: bool = True
    scores: str | Path | None = None
    report: bool = True
    index: bool = False


def as_output(out: str | Path | Output) -> Output:
    """An `Output` from itself or from a path."""
    return out if isinstance(out, Output) else Output(out)
