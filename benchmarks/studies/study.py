"""What the studies share: their sizes on the command line, the rows that are recorded, and the picture.

    PYTHONPATH=.:kernels python -m benchmarks.studies.NAME --out FOLDER [--small] [...]

Every study goes on where it was stopped: scores and trainings in FOLDER are not made again. `--small` is minutes on two
cores and records nothing; the recorded size goes into results/study_NAME.json with what it ran on, and its picture
beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import RESULTS, record
from datapruner import Evaluation, evaluate
from datapruner.cli.evaluation_view import TrainingLines, show_result
from datapruner.evaluation.result import Against, Result, Row
from datapruner.evaluation.settings import ALL, RANDOM


@dataclass(frozen=True)
class Sizes:
    """Rows to train on and to judge by, at most; optimizer steps of a training; trainings of each kind."""

    rows: int
    test_rows: int
    steps: int
    seeds: int


@dataclass(frozen=True)
class StudyRow:
    """One way of training at one budget in one setting; differences are better where positive, with 95 % intervals."""

    setting: str
    way: str
    keep_ratio: float | None
    share: float
    quality: float
    low: float
    high: float
    against_random: float | None
    random_low: float | None
    random_high: float | None
    random_word: str
    against_rs2: float | None
    rs2_low: float | None
    rs2_high: float | None
    against_all: float | None
    all_low: float | None
    all_high: float | None
    all_word: str
    seconds_before: float
    seconds_training: float


def arguments(doc: str | None, small: Sizes, recorded: Sizes, *more: str) -> tuple[argparse.Namespace, Sizes]:
    """The options of a study and its sizes, each of which may be given by itself; `more` are paths that it needs, or
    with a question mark may have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where scores and trainings are kept")
    parser.add_argument("--small", action="store_true", help="minutes instead of hours; nothing is recorded")
    for field in dataclasses.fields(Sizes):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, help="another size; nothing is recorded")
    for name in more:
        parser.add_argument(f"--{name.rstrip('?')}", type=Path, required=not name.endswith("?"))
    options = parser.parse_args()
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Sizes)}
    asked = {name: value for name, value in given.items() if value is not None}
    options.is_recorded = not options.small and not asked
    return options, dataclasses.replace(small if options.small else recorded, **asked)


def run(evaluation: Evaluation, out: Path) -> Result:
    """Evaluate, with a line now and then, and show the table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    result = evaluate(evaluation, out, TrainingLines())
    show_result(result, out / "report.html")
    return result


def study_rows(setting: str, result: Result) -> list[StudyRow]:
    """What is recorded of a result."""
    return [_study_row(setting, row) for row in result.rows]


def finish(name: str, rows: Sequence[StudyRow], is_recorded: bool) -> None:
    """Record what ran at its full size, and draw it."""
    if is_recorded:
        from benchmarks.studies.plots import draw

        print(record(f"study_{name}", rows))
        print(draw(rows, RESULTS / f"study_{name}.png"))


def _study_row(setting: str, row: Row) -> StudyRow:
    by = {item.baseline: item for item in row.against}
    draw, whole = by.get(RANDOM), by.get(ALL)
    return StudyRow(
        setting, row.way, row.ratio, row.share, row.mean, row.low, row.high, *_ends(draw), _word(draw),
        *_ends(by.get("rs2")), *_ends(whole), _word(whole), row.cost.before, row.cost.training,
    )  # fmt: skip


def _ends(against: Against | None) -> tuple[float | None, float | None, float | None]:
    if against is None:
        return None, None, None
    return against.difference.mean, against.difference.low, against.difference.high


def _word(against: Against | None) -> str:
    return "" if against is None else against.word
