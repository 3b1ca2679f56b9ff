"""The contract of an engine: where chunks are scored. It decides nothing about the scores.

An engine is a frozen dataclass in `engines/<name>.py` with a default for every field. It makes one `Worker` a
process and calls it with the numbers of chunks, each at least once, in any order: parts appear whole and hold the
same bytes whoever makes them, so that a chunk whose worker died is simply given to another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datapruner.progress import Moved
from datapruner.worker import Work
from prunekernels import spec

PACKAGE = "datapruner.engines"


@dataclass(frozen=True)
class Engine:
    """Base of all engines."""

    def check(self) -> None:
        """Raise where the engine cannot run, before anything is read or written."""

    def run(self, work: Work, chunks: Sequence[int], moved: Moved) -> None:
        """Score `chunks`; when it returns, all their parts are there. What a scorer raises is raised here."""
        raise NotImplementedError


def as_engine(engine: str | Engine) -> Engine:
    """An engine from itself or its text form, as in "local:workers=4"."""
    return spec.build(PACKAGE, engine, Engine) if isinstance(engine, str) else engine
