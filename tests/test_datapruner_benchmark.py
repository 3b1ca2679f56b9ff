"""benchmarks/datapruner.py: what a row says of peers that run, are missing or fail, and that every job is there."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

from benchmarks import datapruner as bench
from benchmarks.data_jobs.comparison import Comparison, Peer, Quality, recall_precision

BENCHMARKS = Path(bench.__file__).parent


def spin(n: int) -> Quality:
    return {"sum": float(sum(range(n)))}


def missing() -> Quality:
    importlib.import_module("a_package_that_is_not_there")
    return {}


def broken() -> Quality:
    raise RuntimeError("no such file\nand more")


def test_a_row_for_every_peer() -> None:
    peers = [
        Peer("numpy", lambda: spin(2_000_000), 1.5),
        Peer("quick", lambda: spin(10), 1.5, "does nothing"),
        Peer("absent", missing, 2.0),
        Peer("broken", broken),
    ]
    rows = bench.compare(Comparison("job", "2 numbers", lambda: spin(200_000), peers))
    assert [row.peer.split()[0] for row in rows] == ["numpy", "quick", "absent", "broken"]
    slow, quick, absent, failed = rows
    assert slow.met
    assert slow.times is not None
    assert slow.their_seconds is not None
    assert slow.times == pytest.approx(slow.their_seconds / slow.our_seconds)
    assert (slow.quality, slow.ours) == ("sum", spin(200_000))
    assert (quick.met, quick.note) == (False, "does nothing")
    assert (absent.theirs, absent.met, absent.note) == (
        None,
        None,
        "not installed: pip install a_package_that_is_not_there",
    )
    assert failed.note == "failed: RuntimeError: no such file"
    assert "job | broken" in bench.shown(failed)
    assert "1.5 wanted: missed" in bench.shown(quick)


def test_ours_must_run() -> None:
    with pytest.raises(RuntimeError, match="no such file"):
        bench.compare(Comparison("job", "", broken, []))


@pytest.mark.parametrize(("job", "module"), bench.JOBS.items())
def test_every_job_is_there(job: str, module: str) -> None:
    assert callable(getattr(importlib.import_module(f"benchmarks.data_jobs.{module}"), job))


def test_it_is_never_taken_for_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    # as when another benchmark runs as a file: its folder stands first on the path
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "datapruner")
    with pytest.raises(ImportError, match="want benchmarks run from the root of the repository"):
        importlib.import_module("datapruner")


def test_recall_and_precision_by_hand() -> None:
    assert recall_precision([1, 2, 3], [2, 3, 4, 5]) == {"recall": 0.5, "precision": 2 / 3}
    assert recall_precision([], [1]) == {"recall": 0, "precision": 0}
