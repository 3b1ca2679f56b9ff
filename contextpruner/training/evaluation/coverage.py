"""Whether a promised recall is kept: thresholds found on one half of the questions, recall measured on the other.

Halves are split by group, that is by document, in the order of a hash of its name. The calibration is the one that
users get (`decisions.calibration`): with all dependencies kept along, and refused where it would promise too much. It
promises the mean over questions and over calibrations; so the interval around the measured recall is that of the
difference to the target, which both halves add to: means of the measured losses and of the calibration's losses, each
resampled by documents. A target within it, or below, is met as far as so many questions can tell. Questions of a few
documents are fewer than they seem: neither the promise nor the interval is worth much there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from contextpruner.decisions.calibration import Judged, calibrate_thresholds
from contextpruner.decisions.closure import DEPENDENCIES
from contextpruner.decisions.labeling_setup import LabelingSetup
from contextpruner.training.evaluation.bootstrap import interval, resampled_means
from contextpruner.training.evaluation.judging import JudgedQuestion

TARGETS = (0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Coverage:
    """A target's threshold, the recall there with its interval, and the share of the characters that is kept.

    None, and the reason in `refused`, where the calibration promises no such thing.
    """

    labeler: str
    questions: str
    target: float
    n_calibrated: int
    n_measured: int
    threshold: float | None = None
    recall: float | None = None
    low: float | None = None
    high: float | None = None
    kept: float | None = None
    refused: str = ""


def coverage(labeler: str, name: str, judged: Sequence[JudgedQuestion]) -> list[Coverage]:
    """A row for each of `TARGETS`; none where a half has no question with gold."""
    halves = split_by_group([one for one in judged if one.question.gold.any()])
    if not all(halves):
        return []
    return [_measured(labeler, name, target, *halves) for target in TARGETS]


def split_by_group(judged: Sequence[JudgedQuestion]) -> tuple[list[JudgedQuestion], list[JudgedQuestion]]:
    """Two halves without a common group, the first of them as soon as it has half of the questions."""
    groups: dict[str, list[JudgedQuestion]] = {}
    for one in judged:
        groups.setdefault(one.question.example.group, []).append(one)
    first: list[JudgedQuestion] = []
    second: list[JudgedQuestion] = []
    for name in sorted(groups, key=lambda name: blake2b(name.encode()).digest()):
        (first if 2 * len(first) < len(judged) else second).extend(groups[name])
    return first, second


def _measured(
    labeler: str, name: str, target: float, calibrated: Sequence[JudgedQuestion], measured: Sequence[JudgedQuestion]
) -> Coverage:
    row = Coverage(labeler, name, target, len(calibrated), len(measured))
    try:
        made = calibrate_thresholds(LabelingSetup(labeler), DEPENDENCIES, [one.closed for one in calibrated])
        threshold = made.threshold(target)
    except ValueError as error:
        return replace(row, refused=str(error))
    seen, means = [], []
    for half in (calibrated, measured):
        recalls = [float((one.closed.kept_from[one.closed.gold] >= threshold).mean()) for one in half]
        seen.append(float(np.mean(recalls)))
        means.append(resampled_means(recalls, [one.question.example.group for one in half]))
    low, high = interval((means[1] - means[0] + seen[0]).clip(0, 1))
    kept = float(np.mean([_kept(one.closed, threshold) for one in measured]))
    return replace(row, threshold=threshold, recall=seen[1], low=low, high=high, kept=kept)


def _kept(closed: Judged, threshold: float) -> float:
    return float(closed.sizes[closed.kept_from >= threshold].sum() / max(closed.sizes.sum(), 1))
