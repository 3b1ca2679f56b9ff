"""kill -9 at random moments of `score`, started again each time: do the bytes end as those of a run without a kill?

    PYTHONPATH=.:kernels python -m benchmarks.kills --kills 100

With one process and with two workers, which are killed with their parent and, every second time, left without it. A
run of 60 chunks is begun, killed, and begun again on what is there; when one ends, its bytes are compared and the
next table begins. Told are the kills that fell, the tables that ended, how many of them had other bytes, what was
left under hidden names, and how many chunks were scored again for a kill.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import record
from datapruner import Scorer, Source, score
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.folders import folder_bytes
from tests.datapruner.scoring.engine_scorers import Logged, logged
from tests.datapruner.scoring.forking import SECONDS, Forker

CHUNKS, ROWS = 60, 5
# the longest that a run is left alone before it is killed, in seconds
LONGEST = {"local": 4.0, "local:workers=2": 9.0}


@dataclass(frozen=True)
class Row:
    """What came of the kills of one engine."""

    engine: str
    kills: int
    tables: int
    other_bytes: int
    leftovers: int
    scored_again_per_kill: float


def measure(engine: str, kills: int, seed: int) -> Row:
    """Kill runs of `engine` until `kills` kills fell, and let the last one end."""
    draw, fell, tables, other, left, finished = random.Random(seed), 0, 0, 0, 0, False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus, log = write_jsonl(folder / "c.jsonl", make_rows(ROWS * CHUNKS)), folder / "log"
        scorers: list[str | Scorer] = ["near_duplicate", Logged(str(log), SECONDS)]
        whole = folder_bytes(score(Source(corpus, chunk_rows=ROWS), scorers, folder / "whole").path)
        log.unlink()
        with Forker(corpus, log) as forker:
            while fell < kills or not finished:
                out = folder / f"t{tables}"
                group = forker.start(out, engine)
                if fell < kills:
                    time.sleep(draw.uniform(0, LONGEST[engine]))
                    with suppress(ProcessLookupError):
                        (os.kill if fell % 2 and engine != "local" else os.killpg)(group, signal.SIGKILL)
                code = int(forker.answered())
                fell, finished = fell + (code == -signal.SIGKILL), code == 0
                if finished:
                    other += folder_bytes(out) != whole
                    left += sum(path.name != ".lock" for path in out.rglob(".*"))
                    tables += 1
        again = len(logged(log)) - CHUNKS * tables
    return Row(engine, fell, tables, other, left, round(again / fell, 2))


def main() -> None:
    """Record both engines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=[*LONGEST], action="append")
    given = parser.parse_args()
    rows = [measure(engine, given.kills, given.seed) for engine in given.engine or LONGEST]
    for row in rows:
        print(row)
    print(record("kills", rows))


if __name__ == "__main__":
    main()
