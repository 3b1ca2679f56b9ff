"""A recipe: everything that decides which rows of a corpus are kept, and where they are written.

The same recipe keeps the same rows, wherever it runs; `expect` says which, and a run that keeps others is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from datapruner.corpus.fragments import FORMS
from datapruner.corpus.remote_outputs import local_path
from datapruner.corpus.source import Source
from datapruner.scoring.scorer import Scorer
from datapruner.selection.budgets import Budget, Per
from datapruner.selection.kept_hash import kept_hash
from datapruner.selection.selection import Selection
from datapruner.selection.selector import Selector


@dataclass(frozen=True)
class Rule:
    """One step of selecting, in the words of `select`; a later step chooses among what the earlier ones keep.

    Its own `scorers` score these rows alone.
    """

    selector: str | Selector | None = None
    by: str | Mapping[str, float] | None = None
    keep: float | Budget | None = None
    per: str | Per | None = None
    scorers: tuple[str | Scorer, ...] = ()


@dataclass(frozen=True)
class Output:
    """Where and how to write: an existing folder is only replaced with `overwrite`, `dropped` rows are written too.

    `scores` is the folder of the score table: `prune` makes it or goes on with it (default: `path` + ".scores"),
    `write` reads it for the `report`, which is left out where that is False. `index`: list the kept
    row numbers and uids in two files more. `form`: "parquet" or "jsonl", compressed as in "jsonl.zst", whatever the
    input is; None leaves rows as they stood. `noted`: kept rows get the field "prunekit", too, with uid, scores and
    what scorers say beside them. `shard_rows`: files of so many kept rows, which so many processes (`workers`) write;
    None is one file.
    """

    path: str | Path
    overwrite: bool = False
    dropped: bool = True
    scores: str | Path | None = None
    report: bool = True
    index: bool = False
    form: str | None = None
    noted: bool = False
    shard_rows: int | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        if self.form not in (None, *FORMS):
            raise ValueError(f"want a form of {', '.join(FORMS)}, got {self.form!r}")
        if self.workers < 1 or (self.shard_rows is not None and self.shard_rows < 1):
            raise ValueError(f"want shard_rows and workers of at least 1, got {self.shard_rows} and {self.workers}")
        if self.workers > 1 and self.shard_rows is None:
            raise ValueError(f"want shard_rows for {self.workers} workers: one file is written by one process")

    @property
    def table_path(self) -> Path:
        """The folder of the score table."""
        return local_path(f"{self.path}.scores" if self.scores is None else self.scores)


@dataclass(frozen=True)
class Expected:
    """What a run must keep: how many rows, and which (`kept_hash`)."""

    kept: int | None = None
    hash: str | None = None

    def check(self, selection: Selection) -> None:
        """Raise ValueError where `selection` keeps other rows."""
        if self.kept not in (None, selection.n_kept):
            raise ValueError(f"the recipe expects {self.kept:,} kept rows, got {selection.n_kept:,}")
        found = kept_hash(selection)
        if self.hash not in (None, found):
            raise ValueError(f"the recipe expects kept rows with the hash {self.hash}, got {found}")


@dataclass(frozen=True)
class Recipe:
    """A run: read `source`, score it by `scorers`, choose by `select`, write into `out`."""

    source: Source
    scorers: tuple[str | Scorer, ...]
    select: tuple[Rule, ...]
    out: Output | None = None
    engine: str = "local"
    expect: Expected = Expected()

    @property
    def all_scorers(self) -> tuple[str | Scorer, ...]:
        """Those of all rows, and then those of the steps."""
        return (*self.scorers, *(item for step in self.select for item in step.scorers))


def as_output(out: str | Path | Output) -> Output:
    """An `Output` from itself or from a path."""
    return out if isinstance(out, Output) else Output(out)
