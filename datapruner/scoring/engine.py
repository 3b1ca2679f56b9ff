"""The contract of an engine: where chunks are scored. It decides nothing about the scores.

An engine is a frozen dataclass in `engines/<name>.py` with a default for every field. It makes one `Worker` a
process and calls it with the numbers of chunks, each at least once, in any order: parts appear whole and hold the
same bytes whoever makes them, so that a chunk whose worker died is simply given to another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datapruner.scoring.progress import ProgressCallback
from datapruner.scoring.worker import ScoringTask
from prunekernels import spec

ENGINES = "datapruner.engines"


@dataclass(frozen=True)
class Engine:
    """Base of all engines."""

    def check(self) -> None:
        """Raise where the engine cannot run, before anything is read or written."""

    def run(self, task: ScoringTask, chunks: Sequence[int], on_progress: ProgressCallback) -> None:
        """Score `chunks`; when it returns, all their parts are there. What a scorer raises is raised here."""
        raise NotImplementedError


def as_engine(engine: str | Engine) -> Engine:
    """An engine from itself or its text form, as in "local:workers=4"."""
    return spec.build(ENGINES, engine, Engine) if isinstance(engine, str) else engine
