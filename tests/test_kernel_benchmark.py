"""The benchmark of the kernels on small cases: results that agree have a row, others none; targets are met or not."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import prunekernels
from benchmarks import kernel_cases, kernel_checks, kernel_lists, kernel_rows, kernels, scoring_cases

RATES = {torch.float32: 1e11, torch.bfloat16: 1e11}
SMALL = kernel_lists.small_cases()


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
