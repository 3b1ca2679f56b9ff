"""The recorded studies in short, for the README: at each budget the best selection beside a draw, and how many lose.

    PYTHONPATH=.:kernels python -m benchmarks.studies.summary

Reads the newest run of results/study_*.json and writes results/study_summary.json, and study_opening.json with two
budgets of each, under what the newest of them was measured on. A selection is ahead of the draw, or behind it, where a
p-value of their difference, corrected by Holm's rule over all selections and budgets of its study's setting, is below
5 %; otherwise it is level. The interval is of the difference alone, without correction.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.harness import RESULTS, append

# each by its file, what its rows are called, and what is measured
STUDIES = {
    "study_digits": ("scikit-learn", "accuracy"),
    "study_fashion_mnist": ("Fashion-MNIST", "accuracy"),
    "study_cifar": ("CIFAR-10, human labels", "accuracy"),
    "study_text": ("damaged text", "bits per byte"),
    "study_nlu": ("", "intent and slots"),
}
BASELINES = ("all", "random", "stratified", "rs2", "distillation", "all rows", "by lot, once", "by lot, anew")
ALPHA = 0.05
FEW, HALF = 0.1, 0.5


@dataclass(frozen=True)
class Trial:
    """A way at a budget: how good, and its difference from the draw, better where positive; none of the draw."""

    setting: str
    way: str
    keep_ratio: float | None
    quality: float
    difference: float
    low: float
    high: float
    word: str


@dataclass(frozen=True)
class SummaryRow:
    """One budget of one study: all rows, the draw, the best selection, and how the selections stand to the draw."""

    data: str
    measure: str
    keep_ratio: float
    all_rows: float
    random: float
    best: str
    quality: float
    against_random: float
    low: float
    high: float
    ahead: int
    level: int
    behind: int


def summary(studies: Mapping[str, Sequence[dict]]) -> Iterator[SummaryRow]:
    """Of the recorded rows of each study, in the order of `STUDIES`."""
    for name, (data, measure) in STUDIES.items():
        trials = [_nlu_trial(row) if name == "study_nlu" else _trial(row) for row in studies.get(name, ())]
        for setting in dict.fromkeys(trial.setting for trial in trials):
            own = [trial for trial in trials if trial.setting == setting]
            whole = next(trial.quality for trial in own if trial.way in ("all", "all rows"))
            title = ", ".join(part for part in (data, setting) if part)
            ratios = {trial.keep_ratio for trial in own if trial.keep_ratio is not None and trial.keep_ratio < 1}
            for ratio in sorted(ratios):
                found = [trial for trial in own if trial.keep_ratio == ratio]
                draw = next(trial.quality for trial in found if trial.way in ("random", "by lot, once"))
                selections = [trial for trial in found if trial.way not in BASELINES]
                best = max(selections, key=lambda trial: trial.difference)
                words = [trial.word for trial in selections]
                yield SummaryRow(
                    title, measure, ratio, whole, draw, best.way, best.quality, best.difference, best.low, best.high,
                    words.count("ahead"), words.count("level"), words.count("behind"),
                )  # fmt: skip


def opening(rows: Sequence[SummaryRow]) -> Iterator[SummaryRow]:
    """Of each set of data the least budget from `FEW` on, and the least from `HALF` on."""
    for data in dict.fromkeys(row.data for row in rows):
        own = [row for row in rows if row.data == data]
        yield from (
            min(fit, key=_share) for least in (FEW, HALF) if (fit := [row for row in own if _share(row) >= least])
        )


def _share(row: SummaryRow) -> float:
    return row.keep_ratio


def _trial(row: dict) -> Trial:
    mean, low, high = _ends(row, "against_random", "random_low", "random_high")
    word = {"better": "ahead", "worse": "behind"}.get(row["random_word"], "level")
    return Trial(row["setting"], row["way"], row["keep_ratio"], row["quality"], mean, low, high, word)


def _nlu_trial(row: dict) -> Trial:
    """Of the study `nlu`, whose rows have p-values and another draw."""
    mean, low, high = _ends(row, "against_lot", "lot_low", "lot_high")
    is_told = row["lot_p"] is not None and row["lot_p"] < ALPHA
    word = ("ahead" if mean > 0 else "behind") if is_told else "level"
    return Trial(row["data"], row["way"], row["keep_ratio"], row["exact"], mean, low, high, word)


def _ends(row: dict, *names: str) -> list[float]:
    return [math.nan if row[name] is None else row[name] for name in names]


def newest(folder: Path = RESULTS) -> dict[str, dict]:
    """The newest run of each study that was recorded."""
    paths = {name: folder / f"{name}.json" for name in STUDIES}
    runs = {name: json.loads(path.read_text("utf-8")) for name, path in paths.items() if path.exists()}
    return {name: max(own, key=_date) for name, own in runs.items()}


def _date(run: dict) -> str:
    return run["date"]


def main() -> None:
    runs = newest()
    rows = list(summary({name: run["rows"] for name, run in runs.items()}))
    last = max(runs.values(), key=_date)
    for name, part in (("study_summary", rows), ("study_opening", opening(rows))):
        (RESULTS / f"{name}.json").unlink(missing_ok=True)
        print(append(name, {**last, "rows": [asdict(row) for row in part]}))


if __name__ == "__main__":
    main()
