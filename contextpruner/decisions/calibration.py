"""Calibration: the threshold that keeps a wanted share of the gold units, by conformal risk control.

    loss(question, T)   the share of the question's gold units that threshold T with closure does not keep
    T(recall)           the largest T with (sum of the losses + 1) / (n + 1) <= 1 - recall

For a question drawn like the n calibration questions, the expected share of its gold units that is kept is then at
least the target (Angelopoulos et al. 2022, arXiv:2208.02814: a bounded loss that only grows with T). That is a
promise about the mean over questions and over calibration sets, not about each question; it holds for questions
like those of the calibration, and for the labeler, model and splitter that were used there: others are refused, as far
as their names tell them apart, and so is less closure. What is kept where nothing passes only adds to what is kept. A
calibration of n questions can promise no more than n / (n + 1).

A promise can be cheap: a threshold at which nearly everything stays keeps all that answers, too. Beside the loss
stand, over the same questions, the share of the characters that is kept and the coverage, the share of questions of
which all gold is; a recall that drops less than `LEAST_DROPPED` of what answers nothing is refused.

Saved into the folder of a model, as calibration.json, it goes where the model goes and is found there by itself.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from contextpruner.decisions.closure import Dependency, checked_closure, kept_from
from contextpruner.decisions.labeling_setup import LabelingSetup
from contextpruner.labeler import Labeler
from contextpruner.units.split import SplitDocument
from prunekernels.io.checkpoint import find_checkpoint
from prunekernels.io.json_files import Fields
from prunekernels.io.outputs import atomic_text

FILE = "calibration.json"
FORMAT = 3
COLUMNS = ("thresholds", "losses", "kept", "coverage")
# thresholds that are stored at most; between two of them the lower one is taken, which loses less
MOST = 2000
# of the characters that answer nothing, the share that a threshold has to drop
LEAST_DROPPED = 0.1
OTHER = "another labeler or model, one that tells more of what answers from what does not"


class Judged(NamedTuple):
    """A question's units: the highest threshold that keeps each, float32, its characters, int64, and if it is gold."""

    kept_from: np.ndarray
    sizes: np.ndarray
    gold: np.ndarray


@dataclass(frozen=True)
class Promise:
    """What was found at the `threshold` for a target: the shares of gold units and of characters that are kept.

    `coverage` is the share of questions of which all gold units are kept.
    """

    target: float
    threshold: float
    recall: float
    kept: float
    coverage: float


@dataclass(frozen=True)
class Calibration:
    """What was found at `thresholds` [m], ascending, over `n_questions` with gold units: means of these questions.

    `losses` [m] are the shares of the gold units that are not kept, `kept` [m] the shares of the characters that are,
    `coverage` [m] the shares of questions of which all gold is; `gold` is the share of the characters that is gold.
    """

    origin: LabelingSetup
    closure: tuple[Dependency, ...]
    n_questions: int
    gold: float
    thresholds: tuple[float, ...]
    losses: tuple[float, ...]
    kept: tuple[float, ...]
    coverage: tuple[float, ...]

    def promise(self, recall: float) -> Promise:
        """What the largest threshold keeps that promises `recall` in (0, 1).

        Raises ValueError where none can, or where one keeps nearly everything.
        """
        n, allowed = self.n_questions, 1 - recall
        # a hair for sums of thirds and sevenths
        bounds = (np.array(self.losses) * n + 1) / (n + 1) - 1e-9
        fitting = np.flatnonzero(bounds <= allowed)
        if not len(fitting):
            wanted = math.ceil(1 / allowed - 1e-9) - 1
            raise ValueError(
                f"a recall of {recall:g} wants a calibration of at least {wanted} questions, "
                f"got {n}, which can promise {n / (n + 1):.3f}"
            )
        at = int(fitting[-1])
        if self._is_idle[at]:
            instead = f"a recall of at most {self.highest_recall:g}, or {OTHER}" if self.highest_recall else OTHER
            raise ValueError(
                f"a recall of {recall:g} would keep {100 * self.kept[at]:.1f} % of the text: want {instead}"
            )
        return Promise(recall, self.thresholds[at], 1 - self.losses[at], self.kept[at], self.coverage[at])

    def threshold(self, recall: float) -> float:
        """That threshold; raises as `promise` does."""
        return self.promise(recall).threshold

    @property
    def highest_recall(self) -> float:
        """What can be promised where nearly everything is not kept, rounded down to three places; 0 if nothing can."""
        useful = np.flatnonzero(~self._is_idle)
        if not len(useful):
            return 0.0
        bound = (self.losses[int(useful[0])] * self.n_questions + 1) / (self.n_questions + 1)
        return math.floor(1000 * (1 - bound) + 1e-6) / 1000

    @property
    def _is_idle(self) -> np.ndarray:
        """At which thresholds too little is dropped of what answers nothing, bool [m]."""
        return 1 - np.array(self.kept) < LEAST_DROPPED * (1 - self.gold) - 1e-9

    def check(self, origin: LabelingSetup) -> Calibration:
        """This calibration; raises ValueError if it was made with something else than `origin`."""
        if self.origin != origin:
            raise ValueError(f"want a calibration of {origin}, got one of {self.origin}")
        return self

    def check_closure(self, closure: Sequence[Dependency]) -> None:
        """Raises ValueError where less is kept along than in the calibration."""
        if missing := [kind for kind in self.closure if kind not in closure]:
            lacking = ", ".join(missing)
            raise ValueError(f"want a closure of all that the calibration was made with, got one without {lacking}")

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write JSON to the file `path`, or into the folder `path`.

        Raises ValueError where a file is there that is no calibration, but with `overwrite`.
        """
        held = dataclasses.asdict(self)
        if Path(path).is_dir():
            # it goes where the model goes, whatever the way there is called
            held["origin"]["model"] = None
        with atomic_text(calibration_file(path), replaces=overwrite or is_calibration) as file:
            file.write(json.dumps({"format": FORMAT, **held}) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what `save` wrote; raises ValueError for anything else."""
        file = calibration_file(path)
        try:
            held = Fields.read(file)
            if held.integer("format") != FORMAT:
                raise ValueError("another format")
            origin = held.fields("origin")
            origin.only(field.name for field in dataclasses.fields(LabelingSetup))
            model = origin.text("model") if origin.has("model") else str(path) if Path(path).is_dir() else None
            setup = LabelingSetup(origin.text("labeler"), model, origin.text("splitter"))
            closure = checked_closure(tuple(held.texts("closure")))
            columns = [tuple(held.numbers(name, 0, 1)) for name in COLUMNS]
            read = cls(setup, closure, held.integer("n_questions", minimum=1), held.number("gold", 0, 1), *columns)
            _check(read)
        except ValueError as error:
            reason = str(error).removeprefix(f"{file}: ")
            raise ValueError(f"{file}: want a calibration of format {FORMAT}: {reason}") from error
        return read


def calibration_file(path: str | Path) -> Path:
    """The file that `path` stands for: itself, or calibration.json in the folder `path`."""
    return Path(path) / FILE if Path(path).is_dir() else Path(path)


def is_calibration(path: Path) -> bool:
    """Whether the file at `path` is a calibration of any format, which a new one may replace."""
    try:
        return {"format", "origin", "thresholds", "losses"} <= {*Fields.read(path).values}
    except ValueError:
        return False


def calibration_of_model(labeler: Labeler) -> Calibration | None:
    """The calibration in the folder of the labeler's model, whichever path leads there; None where there is none."""
    model = getattr(labeler, "model", None)
    if not isinstance(model, str) or not (file := find_checkpoint(model).folder / FILE).is_file():
        return None
    read = Calibration.load(file)
    return dataclasses.replace(read, origin=dataclasses.replace(read.origin, model=model))


def judge(
    documents: Sequence[SplitDocument],
    probabilities: Sequence[np.ndarray],
    gold: np.ndarray,
    closure: Sequence[Dependency],
) -> Judged:
    """A question's `documents` with what a labeler says of their units and which of all units are `gold`."""
    seen = np.array([unit.kind != "markup" for document in documents for unit in document.units], dtype=bool)
    sizes = np.array([len(text) for document in documents for text in document.texts], dtype=np.int64)
    found = kept_from(documents, closure, np.concatenate(probabilities))
    return Judged(found[seen], sizes[seen], gold[seen])


def calibrate_thresholds(
    origin: LabelingSetup, closure: tuple[Dependency, ...], judged: Iterable[Judged]
) -> Calibration:
    """From the units of each question; questions without a gold one do not count."""
    rows = [row for row in judged if row.gold.any()]
    if not rows:
        raise ValueError("want at least one question with a gold unit, got none")
    of_gold = [row.kept_from[row.gold] for row in rows]
    thresholds = np.unique(np.concatenate(of_gold))
    if len(thresholds) > MOST:
        thresholds = thresholds[np.linspace(0, len(thresholds) - 1, MOST).astype(int)]
    losses = _below(thresholds, of_gold, [np.full(len(values), 1 / len(values)) for values in of_gold])
    shares = [row.sizes / max(row.sizes.sum(), 1) for row in rows]
    dropped = _below(thresholds, [row.kept_from for row in rows], shares)
    lacking = _below(thresholds, [values.min(keepdims=True) for values in of_gold], [np.ones(1)] * len(rows))
    gold = float(np.mean([share[row.gold].sum() for share, row in zip(shares, rows, strict=True)]))
    columns = [thresholds, losses, 1 - dropped, 1 - lacking]
    return Calibration(
        origin, checked_closure(closure), len(rows), gold, *(tuple(column.tolist()) for column in columns)
    )


def _below(thresholds: np.ndarray, values: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> np.ndarray:
    """The weight of the values below each of `thresholds`, in the mean over questions, float64 [m] in [0, 1]."""
    flat, weight = np.concatenate(values), np.concatenate(weights)
    order = np.argsort(flat, kind="stable")
    sums = np.append(0, np.cumsum(weight[order]))
    return (sums[np.searchsorted(flat[order], thresholds)] / len(values)).clip(0, 1)


def gold_units(document: SplitDocument, gold: Sequence[tuple[int, int]]) -> np.ndarray:
    """Which units of `document` share a character that is no white space with one of the spans `gold`, bool [units].

    Markup between the blocks of a page is none: it is no policy's to keep.
    """
    text, found = document.document.text, np.zeros(len(document.units), dtype=bool)
    for start, end in gold:
        if not 0 <= start < end <= len(text):
            raise ValueError(f"want gold characters within [0, {len(text)}), got [{start}, {end})")
    for number, unit in enumerate(document.units):
        for start, end in gold if unit.kind != "markup" else ():
            if text[max(start, unit.start) : min(end, unit.end)].strip():
                found[number] = True
    return found


def _check(read: Calibration) -> None:
    columns = [np.array(getattr(read, name)) for name in COLUMNS]
    thresholds, losses, kept, coverage = columns
    if not len(thresholds) or any(len(column) != len(thresholds) for column in columns):
        raise ValueError(f"want {', '.join(COLUMNS)}, as many of each")
    steps = (np.diff(thresholds), np.diff(losses), -np.diff(kept), -np.diff(coverage))
    if (steps[0] <= 0).any() or any((step < 0).any() for step in steps):
        raise ValueError("want ascending thresholds and losses, and of the others descending ones")
