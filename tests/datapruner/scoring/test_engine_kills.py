"""kill -9 at random moments, started again each time: the bytes are those of a run that was never killed."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from datapruner import Source, score
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.folders import folder_bytes
from tests.datapruner.scoring.engine_scorers import Logged, logged
from tests.datapruner.scoring.forking import SECONDS, Forker

CHUNKS = 60


def _until(true: object, seconds: float = 60) -> None:
    """Wait until `true()`."""
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.002)


def _whole(tmp_path: Path, log: Path) -> tuple[Path, dict[str, bytes]]:
    corpus = write_jsonl(tmp_path / "c.jsonl", make_rows(5 * CHUNKS))
    table = score(Source(corpus, chunk_rows=5), ["near_duplicate", Logged(str(log), SECONDS)], tmp_path / "whole")
    log.unlink()
    return corpus, folder_bytes(table.path)


def test_twenty_kills_of_one_process(tmp_path: Path) -> None:
    draw, log = random.Random(7), tmp_path / "log"
    corpus, whole = _whole(tmp_path, log)
    kills = finished = tables = 0
    with Forker(corpus, log) as forker:
        while kills < 20 or not finished:
            out = tmp_path / f"t{tables}"
            group = forker.start(out, "local")
            # after twenty the last run may end
            time.sleep(draw.uniform(0, 0.25) if kills < 20 else 0)
            if kills < 20:
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
            code = int(forker.answered())
            kills, finished = kills + (code == -signal.SIGKILL), code == 0
            if finished:
                assert folder_bytes(out) == whole
                tables += 1
        assert kills >= 20
    # a chunk is scored once for each table, but for those in which a kill fell
    assert CHUNKS * tables <= len(logged(log)) <= CHUNKS * tables + kills


def test_kills_of_two_workers_with_their_parent_and_of_the_parent_alone(tmp_path: Path) -> None:
    draw, log, out = random.Random(3), tmp_path / "log", tmp_path / "t"
    corpus, whole = _whole(tmp_path, log)
    with Forker(corpus, log) as forker:
        for alone in (False, True):
            before = len(logged(log))
            group = forker.start(out, "local:workers=2")
            _until(lambda before=before: len(logged(log)) > before)
            time.sleep(draw.uniform(0, 0.1))
            (os.kill if alone else os.killpg)(group, signal.SIGKILL)
            assert int(forker.answered()) == -signal.SIGKILL
            # no worker goes on without the process that started it
            workers = {pid for pid, _ in logged(log)[before:]}
            _until(lambda workers=workers: not any(_lives(pid) for pid in workers), 10)
        forker.start(out, "local:workers=2")
        assert int(forker.answered()) == 0
    assert folder_bytes(out) == whole
    assert CHUNKS <= len(logged(log)) <= CHUNKS + 2 * 2


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
