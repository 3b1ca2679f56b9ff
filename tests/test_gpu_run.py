"""The command for a GPU machine: rows on disk, jobs that go wrong, kills, time that is short, and the way home."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import merge
from benchmarks.gpu.journal import DIED, FAILED, OK, TIMEOUT, Journal
from benchmarks.gpu.worker import sources
from tests.gpu_stage import DEVICE

ROOT = Path(__file__).resolve().parent.parent
PATH = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
ENDS = {
    "first": OK,
    "raises": FAILED,
    "no number": FAILED,
    "ends the process": DIED,
    "leaves": DIED,
    "breaks the device": FAILED,
    "slow": OK,
    "hangs": TIMEOUT,
    "last": OK,
}

KILLED = f"""
import sys, time, pathlib, benchmarks.gpu.__main__ as command
run = command.Run(command.Journal(pathlib.Path(sys.argv[1])), time.time() + 60, {PATH!r})
run.module = "tests.gpu_stage"
run.stage("cases")
"""


def _run(folder: Path, seconds: float = 60) -> command.Run:
    run = command.Run(Journal(folder), time.time() + seconds, PATH)
    run.module = "tests.gpu_stage"
    run.seconds = dict.fromkeys(run.seconds, 1.5)
    return run


@pytest.mark.parametrize("parts", [1, 3])
def test_a_job_that_goes_wrong_costs_its_own_row(
    parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(command.PARALLEL, "checks", parts)
    run = _run(tmp_path)
    run.stage("checks")
    ended = run.journal.ended(DEVICE)
    assert {name: entry["status"] for name, entry in ended.items()} == ENDS
    assert ended["first"]["rows"] == [["gpu_tried", {"value": 1.0}]]
    assert ended["raises"]["error"] == "MemoryError: no memory / of 3 GiB"
    assert "JSON" in ended["no number"]["error"]
    assert ended["ends the process"]["error"] == "the process ended with 9"
    assert ended["hangs"]["error"] == "the process took over 2 s"
    shown = capfd.readouterr().out
    assert "ok: last" in shown
    assert "no time left for long" in shown
    assert "3 of 9 jobs went well" in command.summary(run.journal)
    assert "  died: ends the process: the process ended with 9" in command.summary(run.journal)

    # nothing runs again, not even what failed
    before = [entry for entry in run.journal.entries() if "job" in entry]
    _run(tmp_path).stage("checks")
    assert [entry for entry in run.journal.entries() if "job" in entry] == before


def test_a_worker_that_cannot_start_is_given_up(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = _run(tmp_path)
    run.stage("reach")
    shown = capfd.readouterr().out
    assert shown.count("given up: reach") == 1
    assert "nothing can be imported" in shown
    assert not run.workers


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT)
    journal, end = Journal(tmp_path), time.time() + 30
    while not any(entry.get("start") == "slow" for entry in journal.entries()) and time.time() < end:
        time.sleep(0.01)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    # the worker ends its job and, without its parent, takes no other one
    worker = [entry["process"] for entry in journal.entries() if entry.get("start") == "slow"][-1]
    while Path(f"/proc/{worker}").exists() and time.time() < end:
        time.sleep(0.01)
    assert "last" not in journal.ended(DEVICE)
    with journal.path.open("a") as file:
        file.write('{"job": "cut sho')
    journal.repair()
    _run(tmp_path).stage("cases")
    starts = [entry["start"] for entry in journal.entries() if "start" in entry]
    assert sorted(starts) == sorted(set(ENDS) - {"hangs"})
    assert set(journal.ended(DEVICE)) == set(starts)


def test_time_that_is_up_ends_everything(tmp_path: Path) -> None:
    run, start = _run(tmp_path, seconds=3), time.time()
    run.seconds = dict.fromkeys(run.seconds, 1000.0)
    run.stage("checks")
    assert time.time() - start < 5
    assert "hangs" not in run.journal.ended(DEVICE)
    worker = [entry["process"] for entry in run.journal.entries() if entry.get("start") == "hangs"][-1]
    assert not Path(f"/proc/{worker}").exists()


def test_what_failed_runs_again_with_other_code(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for job, status, digest in (("a", OK, "old"), ("b", FAILED, "old"), ("c", FAILED, "new"), ("d", OK, "new")):
        journal.append({"job": job, "status": status, "device": "card", "sources": digest, "rows": []})
    assert journal.done("card", "new") == {"a", "c", "d"}
    assert journal.done("another card", "new") == set()


def test_wheels_are_unpacked_beside_packages(tmp_path: Path) -> None:
    wheels, into = tmp_path / "wheels", tmp_path / "into"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "thing-1-py3-none-any.whl", "w") as file:
        file.writestr("thing/__init__.py", "NAME = 'thing'")
    assert command.unpacked(wheels, into) == [str(into), str(wheels)]
    assert (into / "thing" / "__init__.py").exists()
    with pytest.raises(SystemExit, match="nowhere"):
        command.unpacked(tmp_path / "nowhere", into)


def _entry(job: str, rows: list, status: str = OK, digest: str | None = None) -> dict:
    return {
        "job": job,
        "status": status,
        "device": "card",
        "sources": digest or sources(),
        "rows": rows,
        "error": "bad",
    }


def test_rows_come_home_once_with_their_commit(tmp_path: Path) -> None:
    journal, results, page = Journal(tmp_path / "run"), tmp_path / "results", tmp_path / "page.md"
    card = {"device": "card", "commit": None, "dirty": True, "threads": 1, "python": "3", "torch": "2", "triton": "3"}
    journal.append({"machine": {**card, "date": "2026-01-01T00:00:00"}, "gpu": True})
    journal.append(_entry("one", [["gpu_tried", {"n": 1}]]))
    journal.append(_entry("two", [], FAILED))
    page.write_text("<!-- optional benchmark:gpu_tried -->\n<!-- /benchmark -->\n")
    assert tables.refresh(page, results)
    assert "*Not measured yet.*" in page.read_text()
    assert [path.name for path in merge.merge(journal.path.parent, results)] == ["gpu_tried.json", "gpu_failed.json"]
    assert merge.merge(journal.path.parent, results) == []
    (run,) = json.loads((results / "gpu_tried.json").read_text("utf-8"))
    assert run["rows"] == [{"n": 1}]
    # the code here is what ran there, where git was not at hand
    assert re.fullmatch("[0-9a-f]{40}", run["commit"])
    (failed,) = json.loads((results / "gpu_failed.json").read_text("utf-8"))
    assert failed["rows"] == [{"job": "two", "how": FAILED, "error": "bad"}]
    assert tables.refresh(page, results)
    assert "| n |\n| --- |\n| 1 |\n" in page.read_text()

    journal.append(_entry("three", [["gpu_tried", {"n": 3}]], digest="of other code"))
    assert len(merge.merge(journal.path.parent, results)) == 2
    run = json.loads((results / "gpu_tried.json").read_text("utf-8"))[-1]
    assert run["rows"] == [{"n": 1}, {"n": 3}]
    assert (run["commit"], run["dirty"]) == (None, True)


def test_a_rehearsal_on_a_cpu_runs_through_and_stays_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["reach: copy", "reach: float32", "check: el2n, float32", "el2n, 17", "40 visual tokens, before"]
    code = command.main([str(tmp_path), "--limit", "60", "--stages", "reach", "checks", "cases", "--only", *words])
    assert code == 0, capfd.readouterr().out
    ended = {entry["job"]: entry for entry in Journal(tmp_path).entries() if "job" in entry}
    assert {entry["status"] for entry in ended.values()} == {OK}
    assert [name.partition(":")[0] for name in ended] == ["reach", "reach", "check", "prefill", "case"]
    ((_, row),) = ended["case: el2n, 17 x 5, softmax, one_hot, norm"]["rows"]
    assert row["floor_ms"] > 0
    ((_, row),) = ended["check: el2n, float32"]["rows"]
    assert row["agrees"]
    assert row["same_bits"]
    with pytest.raises(SystemExit, match="rehearsal"):
        merge.merge(tmp_path, tmp_path / "results")
    written = {path.stem for path in merge.merge(tmp_path, tmp_path / "results", rehearsal=True)}
    assert written == {"gpu_reach", "gpu_checks", "gpu_kernels", "gpu_prefill"}
    assert "el2n, 17 x 5" in tables.table("gpu_kernels", tmp_path / "results")


def test_too_little_time_brings_nothing_and_says_so(tmp_path: Path) -> None:
    start = time.time()
    assert command.main([str(tmp_path), "--limit", "1", "--stages", "reach"]) == 1
    assert time.time() - start < 4
