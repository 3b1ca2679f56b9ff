"""Why a document of a stream is dropped: by a threshold of a score that it has, or by a saved selection."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from datapruner.corpus.uids import hash64
from datapruner.selection.candidates import ArrayRows, Candidates
from datapruner.selection.select import SELECTORS
from datapruner.selection.selection import Selection
from datapruner.selection.selector import Selector
from datapruner.selection.uid_column import uid_slices
from prunekernels import spec


@dataclass(frozen=True)
class Decision:
    """Why a document is dropped, None where it is kept, and what the selection says of it, by name."""

    reason: str | None
    told: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Threshold:
    """minimum <= the score `by` <= maximum, by the selector of that name: the same rows, the same reasons."""

    by: str
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        if self.minimum is None and self.maximum is None:
            raise ValueError("want a minimum, a maximum or both, got neither")
        self._rule.check()

    def decide(self, uids: Sequence[str], scores: Sequence[object]) -> list[Decision]:
        """A decision a document; raises ValueError where one has no score that is a number."""
        for uid, score in zip(uids, scores, strict=True):
            if isinstance(score, bool) or not isinstance(score, int | float) or math.isnan(score):
                raise ValueError(f"document {uid!r}: want a number as {self.by!r}, got {score!r:.80}")
        values = np.array(scores, dtype=np.float32)
        rows = ArrayRows(np.zeros(len(values), dtype=np.uint64))
        outcome = self._rule.select(Candidates(values, rows, by=self.by))
        return [Decision(None if code < 0 else outcome.reasons[code]) for code in outcome.codes.tolist()]

    @cached_property
    def _rule(self) -> Selector:
        ends = {"minimum": self.minimum, "maximum": self.maximum}
        fields = ",".join(f"{name}={float(value)!r}" for name, value in ends.items() if value is not None)
        return spec.build(SELECTORS, f"threshold:{fields}", Selector)


@dataclass(frozen=True)
class SavedSelection:
    """The file that `Selection.save` wrote, read at first use: 13 bytes a row, and 4 for each score."""

    path: Path

    def __getstate__(self) -> dict[str, object]:
        # each process reads the file
        return {"path": self.path}

    def decide(self, uids: Sequence[str]) -> list[Decision]:
        """A decision a document; raises ValueError for one that the selection does not know."""
        hashes, rows, selection = self._read
        wanted = hash64(uids)
        places = np.searchsorted(hashes, wanted)
        known = places < len(hashes)
        known[known] = hashes[places[known]] == wanted[known]
        if not known.all():
            uid = uids[int(np.argmin(known))]
            raise ValueError(f"{self.path}: want a decision for document {uid!r}, got none: it was not selected from")
        numbers = rows[places]
        columns = {**selection.scores, **({} if selection.weights is None else {"weight": selection.weights})}
        told = {name: values[numbers].tolist() for name, values in columns.items()}
        codes = selection.codes[numbers].tolist()
        return [
            Decision(None if code < 0 else selection.reasons[code], {name: told[name][place] for name in told})
            for place, code in enumerate(codes)
        ]

    @cached_property
    def _read(self) -> tuple[np.ndarray, np.ndarray, Selection]:
        """Hashes of the uids, ascending uint64 [n], their row numbers, and the selection."""
        selection = Selection.load(self.path)
        blocks = [hash64(uids.to_pylist()) for _, uids in uid_slices(selection.uids, 0, selection.n_rows)]
        hashes = np.concatenate([np.zeros(0, np.uint64), *blocks])
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        if (same := np.flatnonzero(ordered[1:] == ordered[:-1])).size:
            first, second = (selection.uid(int(order[same[0] + step])) for step in (0, 1))
            raise ValueError(f"{self.path}: want uids that differ, got {first!r} and {second!r} with one hash")
        return ordered, order.astype(np.uint32) if len(order) < 2**32 else order, selection
