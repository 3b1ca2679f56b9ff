"""The benchmark of requests a second, on its tiny model."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import served_requests as benchmark

N, N_NEW = 2, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the tiny model."""
    made = tmp_path_factory.mktemp("served")
    benchmark.save_model(made, is_small=True)
    return made


@pytest.fixture(scope="module")
def llm(folder: Path) -> Iterator[object]:
    """Its engine."""
    from vllm.distributed import cleanup_dist_env_and_memory

    yield benchmark.started(folder, is_small=True)
    gc.collect()
    cleanup_dist_env_and_memory()


def test_rows_say_what_was_run(llm: object) -> None:
    """Two rounds; the prompts are as long as the methods keep, and times are those of the same round."""
    load = benchmark.Load(N, 0, N_NEW)
    bursts = {
        method: [benchmark.answer(llm, method, [*benchmark.requests(N, seed)], N_NEW) for seed in range(2)]
        for method in benchmark.METHODS
    }
    rows = benchmark.rows_of(bursts, load, (3, 4))
    assert [row.prompt_tokens for row in rows] == [32 + 576, 32 + 58, 32 + 58, 32 + 144]
    assert {(row.requests, row.rounds, row.new_tokens) for row in rows} == {(2 * N, 2, N_NEW)}
    assert rows[0].times_as_many == dict.fromkeys(("least", "median", "most"), 1)
    for row, own in zip(rows, bursts.values(), strict=True):
        assert row.requests_a_second == pytest.approx(2 * N / sum(burst.seconds for burst in own), rel=1e-2)
        assert row.times_as_many["least"] <= row.times_as_many["median"] <= row.times_as_many["most"]
        assert (row.choosing_ms is None) == (row.method == "none")


def test_another_length_stops_it(llm: object) -> None:
    """A prompt with a word more than all others have."""
    (prompt,) = benchmark.requests(1, 0)
    longer = {**prompt, "prompt": f"{prompt['prompt']} 7"}
    with pytest.raises(ValueError, match="none: want 608 tokens of a prompt"):
        benchmark.answer(llm, "none", [longer], N_NEW)
