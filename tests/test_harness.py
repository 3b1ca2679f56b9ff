"""The benchmark harness, with tiny callables."""

import dataclasses
import gc
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import prunekernels
from benchmarks import (
    harness,
    kernel_cases,
    kernel_checks,
    kernel_lists,
    kernel_rows,
    kernels,
    machine,
    scoring_cases,
    tables,
)

CPU = torch.device("cpu")
RATES = {torch.float32: 1e11, torch.bfloat16: 1e11}
SMALL = kernel_lists.small_cases()


@dataclasses.dataclass(frozen=True)
class Row:
    shape: str
    n_rows: int
    ours: harness.Timing
    over_floor: float
    missing: float | None = None


def _rows(over_floor: float = 1.25) -> list[Row]:
    return [
        Row("576 to 56", 1234567, harness.Timing(0.1, 0.2, 0.30001), over_floor),
        Row("a|b", 7, harness.Timing(1, 2, 3), 2345.6),
    ]


def test_measures_in_milliseconds_and_order() -> None:
    waits = [(0.001,), (0.004,), (0.016,)]
    timing = harness.measure(time.sleep, waits, device=CPU, warmup=0, repeats=30)
    assert 1 <= timing.p20 <= timing.p50 <= timing.p80
    assert 4 <= timing.p50 < 16 <= timing.p80


def test_rotates_the_inputs_after_a_warm_up() -> None:
    seen: list[str] = []
    harness.measure(seen.append, [("a",), ("b",), ("c",)], device=CPU, warmup=2, repeats=4)
    assert seen == ["a", "b", "a", "b", "c", "a"]


def test_stops_when_time_is_up_but_not_before_three() -> None:
    seen: list[int] = []
    harness.measure(lambda: seen.append(1), device=CPU, warmup=0, repeats=1000, seconds=0)
    assert len(seen) == 3
    with pytest.raises(ValueError, match="repeat"):
        harness.measure(time.time, device=CPU, repeats=0)
    with pytest.raises(ValueError, match="inputs"):
        harness.measure(time.time, [], device=CPU)


def test_the_collector_is_off_while_a_call_is_timed_and_on_again() -> None:
    seen: list[bool] = []
    harness.measure(lambda: seen.append(gc.isenabled()), device=CPU, warmup=0, repeats=3)
    assert seen == [False] * 3
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        harness.measure(lambda: 1 // 0, device=CPU, warmup=0)
    assert gc.isenabled()


def test_input_sets_fill_the_cache_and_differ() -> None:
    def make(seed: int) -> tuple[torch.Tensor, ...]:
        return torch.full((100,), float(seed)), torch.zeros(25)

    assert len(harness.input_sets(make, n_bytes=500)) == 1
    assert [int(one[0]) for one, _ in harness.input_sets(make, n_bytes=1001)] == [0, 1, 2]
    assert len(harness.input_sets(make, at_most=4)) == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_floors_are_positive_rates(dtype: torch.dtype) -> None:
    assert 1e7 < harness.copy_bandwidth(CPU, 2**20) < 1e13
    assert 1e6 < harness.gemm_rate(dtype, CPU, 64) < 1e15


def test_floor_counts_reads_and_writes_and_both_flop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "measure", lambda *_, **__: harness.Timing(2.0, 3.0, 4.0))
    assert harness.copy_bandwidth(CPU, 1000) == 2 * 1000 / 0.002
    assert harness.gemm_rate(torch.float32, CPU, 10) == 2000 / 0.002


def test_records_append(tmp_path: Path) -> None:
    path = harness.record("tiny", _rows(), tmp_path / "results")
    assert harness.record("tiny", _rows()[:1], tmp_path / "results") == path
    runs = json.loads(path.read_text("utf-8"))
    assert [len(run["rows"]) for run in runs] == [2, 1]
    assert runs[0]["rows"][0] == {
        "shape": "576 to 56",
        "n_rows": 1234567,
        "ours": {"p20": 0.1, "p50": 0.2, "p80": 0.30001},
        "over_floor": 1.25,
        "missing": None,
    }
    assert runs[0]["torch"] == torch.__version__
    assert runs[0]["threads"] == torch.get_num_threads()
    assert {"date", "commit", "dirty", "device", "python", "triton"} <= set(runs[0])
    assert [item.name for item in path.parent.iterdir()] == ["tiny.json"]


def test_a_bad_row_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    path = harness.record("tiny", _rows(), tmp_path)
    before = path.read_bytes()
    for bad in ([{"a": 1}], [Row], _rows(float("nan"))):
        with pytest.raises(ValueError, match=r"dataclasses|JSON"):
            harness.record("tiny", bad, tmp_path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["tiny.json"]


def test_without_git_the_run_counts_as_dirty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    run = json.loads(harness.record("tiny", [], tmp_path).read_text("utf-8"))[0]
    assert run["commit"] is None
    assert run["dirty"] is True


def test_a_record_is_of_the_commit_at_its_beginning(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()

    def git(*words: str) -> str:
        named = ["-c", "user.name=n", "-c", "user.email=e"]
        return subprocess.run(["git", *named, *words], cwd=folder, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    (folder / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "one")
    first = git("rev-parse", "HEAD").strip()
    assert (machine.machine(folder)["commit"], machine.machine(folder)["dirty"]) == (first, False)
    (folder / "a").write_text("2")
    git("commit", "-qam", "two")
    (folder / "a").write_text("3")
    assert machine.revision.__wrapped__(folder) != (first, False)
    assert (machine.machine(folder)["commit"], machine.machine(folder)["dirty"]) == (first, False)
    # also where it is taken down before the record is made
    shutil.rmtree(folder)
    assert machine.machine(folder)["commit"] == first
    # that of this repository was asked for when the harness was imported
    known = machine.revision.cache_info().misses
    machine.revision(Path(harness.__file__).parents[1])
    assert machine.revision.cache_info().misses == known


def test_red_tests_stop_the_benchmark(tmp_path: Path) -> None:
    green, red = tmp_path / "test_green.py", tmp_path / "test_red.py"
    green.write_text("def test_holds():\n    assert True\n")
    red.write_text("def test_fails():\n    assert 1 == 2\n")
    harness.require_green([str(green)])
    with pytest.raises(SystemExit, match="test_red.py") as stop:
        harness.require_green([str(green), str(red)])
    assert "assert 1 == 2" in str(stop.value)


def test_tables_are_rewritten_between_their_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- benchmark:tiny -->\nold\n<!-- /benchmark -->\nafter\n")
    with pytest.raises(ValueError, match="tiny"):
        tables.refresh(page, tmp_path)
    harness.record("tiny", _rows()[:1], tmp_path)
    harness.record("tiny", _rows(), tmp_path)
    assert tables.refresh(page, tmp_path)
    lines = page.read_text("utf-8").splitlines()
    assert lines[:2] == ["before", "<!-- benchmark:tiny -->"]
    assert lines[2:6] == [
        "| shape | n rows | ours | over floor | missing |",
        "| --- | --- | --- | --- | --- |",
        "| 576 to 56 | 1,234,567 | 0.1 / 0.2 / 0.3 | 1.25 |  |",
        "| a\\|b | 7 | 1 / 2 / 3 | 2,346 |  |",
    ]
    assert f"torch {torch.__version__}" in lines[7]
    assert lines[-2:] == ["<!-- /benchmark -->", "after"]
    assert not tables.refresh(page, tmp_path)


def test_an_optional_table_may_not_be_there_yet(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- optional benchmark:tiny -->\nold\n<!-- /benchmark -->\n")
    assert tables.refresh(page, tmp_path)
    assert page.read_text().splitlines()[1:] == ["*Not measured yet.*", "<!-- /benchmark -->"]
    harness.record("tiny", _rows(), tmp_path)
    assert tables.refresh(page, tmp_path)
    assert "| 576 to 56 |" in page.read_text()


def test_each_device_shows_its_newest_run(tmp_path: Path) -> None:
    path = harness.record("tiny", _rows(1.0), tmp_path)
    run = json.loads(path.read_text("utf-8"))[0]
    other = {**run, "device": "another", "rows": [{"only_here": 5}], "dirty": True, "commit": None, "triton": None}
    path.write_text(json.dumps([run, other, {**run, "rows": [{"newest": True}]}]))
    text = tables.table("tiny", tmp_path)
    assert "| newest |" in text
    assert "| yes |" in text
    assert "shape" not in text
    assert "| only here |" in text
    assert "commit unknown with changes" in text


def _bench() -> kernel_rows.Bench:
    return kernel_rows.Bench(1e10, RATES)


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_ours_and_every_peer_agree(case: kernel_cases.Case) -> None:
    bench = _bench()
    bench.run(case)
    assert bench.wrong == []
    assert [row.peer for row in bench.rows] == [peer.name for peer in case.peers]
    for row in bench.rows:
        assert row.peer_ms
        assert row.floor_ms
        assert row.speed_up == row.peer_ms.p50 / row.ours_ms.p50
        assert row.over_floor == row.ours_ms.p50 / row.floor_ms


def _spoiled(result: object) -> object:
    """Two picks exchanged, or the largest number of a result off by a tenth."""
    if isinstance(result, list):
        return [_spoiled(result[0]), *result[1:]]
    if isinstance(result, tuple):
        return _spoiled(result[0]), *result[1:]
    assert isinstance(result, torch.Tensor)
    wrong = result.clone()
    if result.dtype == torch.int64:
        wrong[1:3] = result[1:3].flip(0)
    else:
        wrong.view(-1)[result.abs().argmax()] *= 1.1
    return wrong


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_an_unequal_result_has_no_row(case: kernel_cases.Case) -> None:
    bench = _bench()
    peer = next(peer for peer in case.peers if peer.check is not kernel_checks.other_result)
    wrong = dataclasses.replace(peer, run=lambda *inputs: _spoiled(peer.run(*inputs)))
    bench.run(dataclasses.replace(case, peers=(wrong, peer)))
    assert [row.peer for row in bench.rows] == [peer.name]
    assert len(bench.wrong) == 1
    assert "UnequalError" in bench.wrong[0]


def _exact(x: torch.Tensor, groups: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    unit = torch.nn.functional.normalize(x, dim=1)
    return ((unit @ unit.T).tril(-1) >= 0.95).any(1)


def test_planted_rows_are_found_and_a_shared_peer_runs_once() -> None:
    runs: list[int] = []
    given, bench = scoring_cases.planted(600, 64, 6), _bench()
    peer = dataclasses.replace(given[0].peers[0], run=lambda *inputs: (runs.append(1), _exact(*inputs))[1])
    for case in given:
        bench.run(dataclasses.replace(case, peers=(peer,)))
    assert [row.note for row in bench.rows] == ["recall 1.00 / 1.00"] * 2
    # one call for the result, then those that are timed; none for the second case
    assert len(runs) == 11
    inputs = given[0].make(0)
    assert len(inputs[2]) == 12
    found = _exact(*inputs)
    for ours, words in ((torch.zeros_like(found), "recall"), (torch.ones_like(found), "no duplicate")):
        with pytest.raises(kernel_checks.UnequalError, match=words):
            kernel_checks.same_recall(inputs, ours, found)


def test_picks_may_differ_at_ties() -> None:
    square = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1], [0, 1]])
    one, other, wrong = (torch.tensor(picks) for picks in ([0, 3, 1], [0, 3, 2], [0, 1, 3]))
    assert kernel_checks.same_picks((square,), one, other, cosine=False) == "picks differ at ties"
    with pytest.raises(kernel_checks.UnequalError, match="row 1"):
        kernel_checks.same_picks((square,), one, wrong, cosine=False)
    with pytest.raises(kernel_checks.UnequalError, match="starts"):
        kernel_checks.same_picks((square,), one, other.flip(0), cosine=False)
    basis = torch.eye(4)
    quality = torch.tensor([1.0, 0.5, 0.5, 0.25])
    one, other, wrong = (torch.tensor(picks) for picks in ([0, 1, 2], [0, 2, 1], [0, 3, 1]))
    assert kernel_checks.same_volume((basis, quality), one, other) == "picks differ at ties"
    with pytest.raises(kernel_checks.UnequalError, match="row 3"):
        kernel_checks.same_volume((basis, quality), one, wrong)


def _raise(*_: object) -> None:
    raise ImportError("no such package\nand more")


def test_what_fails_costs_its_own_rows(capsys: pytest.CaptureFixture[str]) -> None:
    bench, case = _bench(), SMALL[5]
    missing = kernel_cases.Peer("missing", _raise)
    bench.run(dataclasses.replace(case, peers=(missing, *case.peers)))
    assert [row.peer for row in bench.rows] == [peer.name for peer in case.peers]
    assert bench.wrong == []
    assert "missing: skipped, ImportError: no such package ... and more\n" in capsys.readouterr().out
    # without any peer ours stands alone
    bench.run(dataclasses.replace(case, peers=(missing,)))
    assert (bench.rows[-1].peer, bench.rows[-1].peer_ms, bench.rows[-1].speed_up) == ("none ran", None, None)
    n_rows = len(bench.rows)
    bench.run(dataclasses.replace(case, ours=_raise))
    assert len(bench.rows) == n_rows
    assert bench.wrong == [f"{case.name}: ImportError: no such package ... and more"]


def test_without_rates_there_is_no_floor() -> None:
    bench = kernel_rows.Bench(None, {})
    bench.run(SMALL[5])
    assert (bench.rows[0].floor_ms, bench.rows[0].over_floor) == (None, None)


def test_a_slow_call_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_rows, "ONCE", 0.0)
    monkeypatch.setattr(kernel_rows, "IS_GPU", False)
    seen: list[int] = []
    bench, case = _bench(), SMALL[5]
    bench.run(dataclasses.replace(case, ours=lambda *inputs: (seen.append(1), case.ours(*inputs))[1]))
    assert len(seen) == 1
    assert bench.rows[0].ours_ms.p20 == bench.rows[0].ours_ms.p80


def test_a_target_is_met_or_missed() -> None:
    target = kernel_cases.Target(speed_up=10, milliseconds=0.3, over_floor=1.5)
    assert kernel_rows.verdict(target, 0.3, 10.0, 1.5) == "10 x met, 0.3 ms met, 1.5 over floor met"
    assert kernel_rows.verdict(target, 0.31, 9.9, 1.6) == "10 x missed, 0.3 ms missed, 1.5 over floor missed"
    assert kernel_rows.verdict(target, 0.31, None, None) == "0.3 ms missed"
    bench, case = _bench(), kernel_cases.aimed(SMALL[5], speed_up=1e9)
    bench.run(dataclasses.replace(case, peers=(*case.peers, *case.peers)))
    assert bench.rows[0].target == "1e+09 x missed"
    bench.run(dataclasses.replace(case, peers=(*case.peers, dataclasses.replace(case.peers[0], name="second"))))
    assert bench.rows[-1].target == ""


def test_runs_take_turns_on_inputs_of_their_own() -> None:
    seen: list[str] = []
    runs = [lambda x: seen.append(f"a{x}"), lambda x: seen.append(f"b{x}")]
    times = harness.measure_in_turn(runs, [(0,), (1,)], harness.Repeats(warmup=0, repeats=3), CPU)
    assert seen == ["a0", "b1", "a1", "b0", "a0", "b1"]
    assert [len(each) for each in times] == [3, 3]


@pytest.mark.parametrize("cases", [kernel_lists.cpu_cases, kernel_lists.gpu_cases, kernel_lists.small_cases])
def test_every_case_has_a_name_and_a_peer_of_its_own(cases: Callable[[], list[kernel_cases.Case]]) -> None:
    rows = [(case.name, peer.name) for case in cases() for peer in case.peers]
    assert len(set(rows)) == len(rows) >= len(cases())


def test_only_a_whole_green_run_is_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done: list[object] = []
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    monkeypatch.setattr(kernels, "IS_GPU", False)
    monkeypatch.setattr(kernels, "cpu_cases", lambda: [SMALL[5], SMALL[7]])
    monkeypatch.setattr(kernels, "copy_bandwidth", lambda: 1e10)
    monkeypatch.setattr(kernels, "gemm_rate", lambda dtype: 1e11)
    monkeypatch.setattr(kernels, "require_green", done.append)
    monkeypatch.setattr(kernels, "append", lambda name, run: done.append((name, len(run["rows"]))))
    kernels.main(["--only", "page_rank"])
    kernels.main(["--no-record"])
    assert done == []
    kernels.main([])
    assert done[1:] == [("kernels", 2)]
    # kernels of another checkout have their tests there
    monkeypatch.setattr(prunekernels, "__file__", str(tmp_path / "prunekernels" / "__init__.py"))
    (tmp_path / "prunekernels").mkdir()
    kernels.main(["--record", "before"])
    assert done[2:] == [("before", 2)]
    with pytest.raises(SystemExit, match="nothing here"):
        kernels.main(["--only", "nothing here"])
    monkeypatch.setattr(kernels, "cpu_cases", lambda: [dataclasses.replace(SMALL[5], ours=_raise)])
    with pytest.raises(SystemExit, match="no such package"):
        kernels.main(["--no-record"])
    monkeypatch.setattr(kernels, "IS_GPU", True)
    with pytest.raises(SystemExit, match="make gpu"):
        kernels.main([])
