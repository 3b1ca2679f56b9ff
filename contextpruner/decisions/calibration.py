"""Calibration: the threshold that keeps a wanted share of the gold units, by conformal risk control.

    loss(question, T)   the share of the question's gold units whose probability is below T
    T(recall)           the largest T with (sum of the losses + 1) / (n + 1) <= 1 - recall

For a question drawn like the n calibration questions, the expected share of its gold units that is kept is then at
least the target (Angelopoulos et al. 2022, arXiv:2208.02814: a bounded loss that only grows with T). That is a
promise about the mean over questions and over calibration sets, not about each question; it holds for questions
like those of the calibration, and for the labeler, model and splitter that were used there: others are refused, as far
as their names tell them apart. Closure, and what is kept where nothing passes, only add to what is kept. A calibration
of n questions can promise no more than n / (n + 1).

Saved into the folder of a model, as calibration.json, it goes where the model goes and is found there by itself.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contextpruner.decisions.labeling_setup import LabelingSetup
from contextpruner.labeler import Labeler
from contextpruner.units.split import SplitDocument
from prunekernels.io.checkpoint import find_checkpoint
from prunekernels.io.json_files import Fields
from prunekernels.io.outputs import atomic_text

FILE = "calibration.json"
FORMAT = 2
# thresholds that are stored at most; between two of them the lower one is taken, which loses less
MOST = 2000


@dataclass(frozen=True)
class Calibration:
    """`losses` [m] are the mean losses at `thresholds` [m], both ascending, over `n_questions` with gold units."""

    origin: LabelingSetup
    n_questions: int
    thresholds: tuple[float, ...]
    losses: tuple[float, ...]

    def threshold(self, recall: float) -> float:
        """The largest threshold that promises `recall` in (0, 1); raises ValueError where none can."""
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
        return self.thresholds[int(fitting[-1])]

    def check(self, origin: LabelingSetup) -> Calibration:
        """This calibration; raises ValueError if it was made with something else than `origin`."""
        if self.origin != origin:
            raise ValueError(f"want a calibration of {origin}, got one of {self.origin}")
        return self

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write JSON to the file `path`, or into the folder `path`.

        Raises ValueError where a file is there that is no calibration, but with `overwrite`.
        """
        with atomic_text(calibration_file(path), replaces=overwrite or is_calibration) as file:
            file.write(json.dumps({"format": FORMAT, **dataclasses.asdict(self)}) + "\n")

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
            model = origin.text("model") if origin.has("model") else None
            setup = LabelingSetup(origin.text("labeler"), model, origin.text("splitter"))
            thresholds, losses = (tuple(held.numbers(name, 0, 1)) for name in ("thresholds", "losses"))
            read = cls(setup, held.integer("n_questions", minimum=1), thresholds, losses)
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


def calibrate_thresholds(origin: LabelingSetup, gold: Iterable[np.ndarray]) -> Calibration:
    """From the probabilities of each question's gold units; questions without any do not count."""
    rows = [np.asarray(row, dtype=np.float32) for row in gold]
    rows = [row for row in rows if len(row)]
    if not rows:
        raise ValueError("want at least one question with a gold unit, got none")
    values = np.concatenate(rows)
    weights = np.concatenate([np.full(len(row), 1 / len(row)) for row in rows])
    order = np.argsort(values, kind="stable")
    thresholds, first = np.unique(values[order], return_index=True)
    # what lies below a threshold is lost
    losses = np.append(0, np.cumsum(weights[order]))[first] / len(rows)
    if len(thresholds) > MOST:
        taken = np.linspace(0, len(thresholds) - 1, MOST).astype(int)
        thresholds, losses = thresholds[taken], losses[taken]
    return Calibration(origin, len(rows), tuple(thresholds.tolist()), tuple(losses.tolist()))


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
    thresholds, losses = np.array(read.thresholds), np.array(read.losses)
    if not 0 < len(thresholds) == len(losses) or (np.diff(thresholds) <= 0).any() or (np.diff(losses) < 0).any():
        raise ValueError("want thresholds and losses, as many, both ascending")
