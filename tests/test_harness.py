"""The benchmark harness, with tiny callables."""

import dataclasses
import json
import time
from pathlib import Path

import pytest
import torch

from benchmarks import harness, machine, tables

CPU = torch.device("cpu")


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
