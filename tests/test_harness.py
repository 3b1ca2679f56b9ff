"""The benchmark harness: how calls are timed, and the floors that times are held against."""

import gc
import time

import pytest
import torch

from benchmarks import harness

CPU = torch.device("cpu")


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


def test_runs_take_turns_on_inputs_of_their_own() -> None:
    seen: list[str] = []
    runs = [lambda x: seen.append(f"a{x}"), lambda x: seen.append(f"b{x}")]
    times = harness.measure_in_turn(runs, [(0,), (1,)], harness.Repeats(warmup=0, repeats=3), CPU)
    assert seen == ["a0", "b1", "a1", "b0", "a0", "b1"]
    assert [len(each) for each in times] == [3, 3]
