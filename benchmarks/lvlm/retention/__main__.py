"""Ask, measure, tell: `python -m benchmarks.lvlm.retention`; see the package."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch

from benchmarks.harness import record
from benchmarks.lvlm.assembly import assembled
from benchmarks.lvlm.retention.asking import ask
from benchmarks.lvlm.retention.cases import RATIOS, Case, cases, equal_flops, inside_tower
from benchmarks.lvlm.retention.costs import costs, equal_budget
from benchmarks.lvlm.retention.journal import Entry, Journal
from benchmarks.lvlm.retention.subject import Picture, Subject, pictures
from benchmarks.lvlm.retention.summary import opening, summary
from benchmarks.lvlm.retention.table import Row, rows
from benchmarks.lvlm.scene import KINDS
from benchmarks.lvlm.sprites import Sprites
from demo import assets
from prunekernels.io.checkpoint import Checkpoint

HERE = Path(__file__).parent.parent
N_QUESTIONS, SMALL_QUESTIONS, SMALL_RATIOS = 2000, 60, (0.25, 0.11)


def main() -> None:
    """Run what is missing, print and record the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    subject = Subject.load(assembled(options.model, options.tower or assets.dinov2(), options.whole))
    n = SMALL_QUESTIONS if options.small else options.questions
    sprites = Sprites.load(options.sprites / options.split)
    asked = {kind: pictures(kind, options.split, n, sprites) for kind in KINDS}
    ratios = SMALL_RATIOS if options.small else RATIOS
    wanted = cases(ratios)
    for ratio in ratios:
        wanted += equal_flops(ratio, equal_budget(subject, ratio, inside_tower()))
    made_by = f"{Checkpoint(options.whole).identity} {options.split} {n}"
    journal = Journal(options.journal, made_by)
    journal.path.parent.mkdir(parents=True, exist_ok=True)
    _run(subject, wanted, asked, journal, 60 * options.minutes)
    found = rows(wanted, asked, journal.entries())
    for row in found:
        print(told(row))
    if not options.no_record and len(found) == len(wanted) * len(asked):
        name = "lvlm_retention_small" if options.small else "lvlm_retention"
        short = summary(found, journal.entries())
        record(f"{name}_summary", short)
        record(f"{name}_flops", summary(found, journal.entries(), "flops"))
        record(f"{name}_opening", opening(short))
        print(record(name, found))


def _run(
    subject: Subject, wanted: list[Case], asked: dict[str, list[Picture]], journal: Journal, seconds: float
) -> None:
    started, done = time.monotonic(), journal.entries()
    for case in wanted:
        for kind, own in asked.items():
            if (case.name, kind) not in done and time.monotonic() - started < seconds:
                journal.add(_entry(subject, case, kind, own))
                print(f"{time.monotonic() - started:.0f} s  {case.name}  {kind}", flush=True)


def _entry(subject: Subject, case: Case, kind: str, own: list[Picture]) -> Entry:
    """What a case gives; a method that refuses this model, or these positions, says why."""
    try:
        method = case.method()
        right = [ask(subject, method, picture) for picture in own]
        # prompts about other kinds of picture are as long
        return Entry(case.name, kind, right, costs(subject, method, own) if kind == KINDS[0] else None)
    except ValueError as error:
        return Entry(case.name, kind, [], refused=str(error))


def told(row: Row) -> str:
    """A row in a line."""
    head = f"{row.pictures:8} {row.method:24} {row.keep_ratio:5g} {row.positions:8}"
    if row.refused:
        return f"{head} refused: {row.refused}"
    shares = f"{row.accuracy:6.1%} ({row.accuracy_low:.1%} to {row.accuracy_high:.1%}), {row.retention:6.1%} left"
    return f"{head} {shares}, {row.decoder_gflop:.2f} GFLOP, {row.whole_ms:.1f} of {row.full_ms:.1f} ms"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, default=HERE / "model", help="what was trained")
    parser.add_argument("--tower", type=Path, help="a DINOv2, by default that of the demo")
    parser.add_argument("--whole", type=Path, default=Path(".models/lvlm"), help="both together, made on first use")
    parser.add_argument("--sprites", type=Path, default=HERE / "pictures", help="with the folder of the split")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--journal", type=Path, default=Path(".models/lvlm_retention.jsonl"))
    parser.add_argument("--questions", type=int, default=N_QUESTIONS, help="at least so many of each kind of picture")
    parser.add_argument("--minutes", type=float, default=math.inf, help="after these it stops; a later call goes on")
    parser.add_argument("--small", action="store_true", help="few questions, two shares")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-record", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
