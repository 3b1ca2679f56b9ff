"""Ask, measure, tell: `python -m benchmarks.lvlm.retention`; see the package."""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.gpu.merge import about
from benchmarks.gpu.worker import sources
from benchmarks.harness import DEVICE, append
from benchmarks.lvlm.assembly import assembled
from benchmarks.lvlm.retention.cases import RATIOS, Case, alike, cases, equal_flops, inside_tower
from benchmarks.lvlm.retention.costs import equal_budget
from benchmarks.lvlm.retention.details import DetailRow, details
from benchmarks.lvlm.retention.journal import MEASURED, Journal, Session
from benchmarks.lvlm.retention.summary import SummaryRow, opening, summary
from benchmarks.lvlm.retention.table import Row, rows
from benchmarks.lvlm.retention.work import Asker, Setting, answers, tried
from benchmarks.machine import machine
from prunekernels.io.checkpoint import Checkpoint

HERE = Path(__file__).parent.parent
N_QUESTIONS, SMALL_QUESTIONS, SMALL_RATIOS = 2000, 60, (0.25, 0.11)
# what the answers hang on
CODE = ("kernels/prunekernels", "tokenpruner", "benchmarks")


def main() -> None:
    """Run what is missing, print and record the table."""
    started, options = time.monotonic(), _options()
    whole = assembled(options.model, options.tower, options.whole)
    n = SMALL_QUESTIONS if options.small else options.questions
    setting = Setting(whole, options.sprites, options.split, n, options.device, options.threads)
    first = Asker(setting)
    ratios = SMALL_RATIOS if options.small else RATIOS
    wanted = cases(ratios)
    for ratio in ratios:
        wanted += equal_flops(ratio, equal_budget(first.subject, ratio, inside_tower()))
    journal = Journal(options.journal, f"{Checkpoint(whole).identity} {options.split} {n}")
    if options.minutes > 0:
        journal.begin(Session(machine(device=torch.device(options.device)), sources(CODE)))
        _run(first, setting, wanted, journal, options.workers, started + 60 * options.minutes)
    found = rows(wanted, first.asked, journal.entries())
    for row in found:
        print(told(row))
    if not options.no_record and len(found) == len(wanted) * len(first.asked):
        _record("lvlm_retention_small" if options.small else "lvlm_retention", found, journal)


def _run(
    first: Asker, setting: Setting, wanted: Sequence[Case], journal: Journal, n_workers: int, until: float
) -> None:
    """Ask, and then measure, what the journal does not have."""
    started, done = time.monotonic(), journal.entries()
    tasks = [
        (missing, kind)
        for own in alike(wanted)
        for kind in first.asked
        if (missing := [case for case in own if (case.name, kind) not in done])
    ]
    for entry in answers(first, setting, tasks, n_workers, until):
        journal.add(entry)
        print(f"{time.monotonic() - started:.0f} s  {entry.case}  {entry.pictures}", flush=True)
    done = journal.entries()
    for case in wanted:
        was_asked = any((own := done.get((case.name, kind))) and not own.refused for kind in first.asked)
        if was_asked and (case.name, MEASURED) not in done and time.monotonic() < until:
            for entry in tried(first.measured, case):
                journal.add(entry)
                print(f"{time.monotonic() - started:.0f} s  {entry.case}  {entry.pictures}", flush=True)


def _record(name: str, found: Sequence[Row], journal: Journal) -> None:
    """Append the tables to the results, as of the machine that the answers are from."""
    sessions, entries = journal.sessions(), journal.entries()
    on = measured_on(sessions)
    short = summary(found, entries)
    tables: dict[str, Sequence[Row | SummaryRow | DetailRow]] = {
        f"{name}_summary": short,
        f"{name}_flops": summary(found, entries, "flops"),
        f"{name}_opening": opening(short),
        f"{name}_details": details(found, entries),
        name: found,
    }
    for table, own in tables.items():
        print(append(table, {**on, "rows": [dataclasses.asdict(row) for row in own]}))


def measured_on(sessions: Sequence[Session]) -> dict[str, object]:
    """The machine of the newest session; where each was of a commit and nothing else, `commits` names those of all."""
    newest = dict(sessions[-1].machine)
    if any(one.machine["dirty"] for one in sessions):
        return about(newest, {one.sources for one in sessions}, sources(CODE))
    commits = list(dict.fromkeys(one.machine["commit"] for one in sessions))
    return newest if len(commits) == 1 else {**newest, "commits": commits}


def told(row: Row) -> str:
    """A row in a line."""
    head = f"{row.pictures:8} {row.method:24} {row.keep_ratio:5g} {row.positions:8}"
    if row.refused:
        return f"{head} refused: {row.refused}"
    shares = f"{row.accuracy:6.1%} ({row.accuracy_low:.1%} to {row.accuracy_high:.1%}), {row.retention:6.1%} left"
    if row.whole_ms is None:
        return f"{head} {shares}"
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
    parser.add_argument("--device", default=DEVICE.type, help="cpu, cuda or cuda:1")
    parser.add_argument("--workers", type=int, default=1, help="processes that ask beside each other")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of each process")
    parser.add_argument("--no-record", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
