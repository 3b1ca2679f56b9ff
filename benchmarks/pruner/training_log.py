"""The validations of a training in one or several runs, out of their logs, as a result that pages can show.

    python -m benchmarks.pruner.training_log .models/pruner_run .models/pruner_second

Recall, and the share of questions that keep all gold, are where 70 % of the characters of the first validation rows are
removed under one threshold; the learning rate falls to zero over the recipe's tokens.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import record
from prunekernels.io.json_files import Fields, parse_object


@dataclass(frozen=True)
class Row:
    """A validation behind so many steps and tokens of a run; the first run is 1."""

    run: int
    step: int
    tokens: int
    area: float
    recall: float
    all_gold: float


def validations(number_of_run: int, run: Path) -> list[Row]:
    """Those in run/log.jsonl; raises ValueError naming a line that is none of a log."""
    found, path = [], run / "log.jsonl"
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        held = Fields(parse_object(line, f"{path}:{number}"), f"{path}:{number}")
        if held.has("area"):
            shares = [held.number(name, 0, 1) for name in ("area", "recall", "all_gold")]
            found.append(Row(number_of_run, held.integer("step"), held.integer("tokens"), *shares))
    return found


def main() -> None:
    """Read, print, record."""
    parser = argparse.ArgumentParser(description="The validations of a training.")
    parser.add_argument("runs", type=Path, nargs="+")
    rows = [row for number, run in enumerate(parser.parse_args().runs, 1) for row in validations(number, run)]
    print(*rows, sep="\n")
    record("pruner_training", rows)


if __name__ == "__main__":
    main()
