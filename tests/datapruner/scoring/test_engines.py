"""Engines: the same bytes from one process and from several, errors that reach the user, and what is refused."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from datapruner import Batch, ScoreTable, Source, score
from datapruner.engines.local import Local
from datapruner.engines.ray import Ray
from datapruner.scoring import processes
from datapruner.scoring.engine import ENGINES, Engine, as_engine
from datapruner.scoring.scorer import NOTHING, State
from datapruner.scoring.worker import ScoringTask, Worker
from prunekernels import registry
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.folders import folder_bytes
from tests.datapruner.scoring.engine_scorers import Failing, Logged, logged


def test_the_folder_is_the_registry() -> None:
    assert {"local", "ray"} <= {*registry.names(ENGINES)}
    for name in registry.names(ENGINES):
        engine = as_engine(name)
        assert isinstance(engine, Engine)
        assert dataclasses.is_dataclass(engine)
        assert engine == type(engine)()
    assert as_engine("local:workers=4,threads=2") == Local(4, 2)
    assert as_engine("ray:workers=8,gpus=1") == Ray(workers=8, gpus=1)


def test_processes_leave_the_same_bytes(corpus: Path, tmp_path: Path, tiny_model: Callable[[str], Path]) -> None:
    source = Source(corpus, uid="id", group="source", chunk_rows=9)
    scorers = [
        "near_duplicate",
        f"perplexity:model={tiny_model('llama')}",
        "hashed_ngrams:dims=16",
        "prototypicality:features=hashed_ngrams,k=3",
    ]
    alone = score(source, scorers, tmp_path / "alone", "local:threads=1")
    several = score(source, scorers, tmp_path / "several", "local:workers=2,threads=1")
    assert several.columns == ["hashed_ngrams", "near_duplicate", "perplexity", "prototypicality"]
    assert folder_bytes(several.path) == folder_bytes(alone.path)


def test_each_chunk_is_scored_once_by_one_of_the_workers(tmp_path: Path) -> None:
    corpus, log = write_jsonl(tmp_path / "c.jsonl", make_rows(100)), tmp_path / "log"
    source = Source(corpus, chunk_rows=5)
    table = score(source, Logged(str(log), 0.1), tmp_path / "t", "local:workers=2")
    assert table.columns == ["logged"]
    assert sorted(row for _, row in logged(log)) == list(range(0, 100, 5))
    assert len({pid for pid, _ in logged(log)} - {os.getpid()}) == 2
    score(source, Logged(str(log)), tmp_path / "t", "local:workers=2")
    assert len(logged(log)) == 20


def test_of_a_chunk_only_the_columns_that_lack_it_are_scored(corpus: Path, tmp_path: Path) -> None:
    source, log = Source(corpus, chunk_rows=10), tmp_path / "log"
    scorers = ["length", Logged(str(log))]
    table = score(source, scorers, tmp_path / "t")
    before = folder_bytes(tmp_path / "t")
    for column, chunk in (("length", 2), ("length", 7), ("logged", 7), ("logged", 9)):
        table.part(column, chunk).unlink()
        table.manifest["columns"][column]["complete"] = False
    table.save()
    log.unlink()
    score(source, scorers, tmp_path / "t")
    assert [row for _, row in logged(log)] == [70, 90]
    assert folder_bytes(tmp_path / "t") == before


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_says_which_rows_and_goes_on_later(corpus: Path, tmp_path: Path, workers: int) -> None:
    source, engine = Source(corpus, chunk_rows=10), Local(workers)
    for how, kind, words in (
        ("value", ValueError, "want something else"),
        ("odd", Exception, "fire and water"),
    ):
        with pytest.raises(kind, match=words) as caught:
            score(source, Failing(how=how), tmp_path / "t", engine)
        assert f"rows 41 to 50, which begin at {corpus}, line 41" in " ".join(caught.value.__notes__)
    assert not ScoreTable(tmp_path / "t").columns
    # of the rows before it at most those are missing that the other worker had in its hands
    assert len(list((tmp_path / "t" / "failing").glob("*.parquet"))) >= 4 - (workers - 1)
    assert not list((tmp_path / "t").rglob(".*partial*"))
    score(source, Failing(how="not"), tmp_path / "t")
    whole = score(source, Failing(how="not"), tmp_path / "whole")
    assert folder_bytes(tmp_path / "t" / "failing") == folder_bytes(whole.path / "failing")


def test_what_a_stopped_worker_left_half_written_goes(corpus: Path, tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Leaving(Failing):
        def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
            left = tmp_path / "t" / "rows" / ".00000000.parquet.partial-0123456789abcdef"
            left.mkdir()
            (left / "00000000.parquet").write_bytes(b"PAR1")
            return super().score(batch)

    with pytest.raises(ValueError, match="something else"):
        score(corpus, Leaving(), tmp_path / "t")
    assert not list((tmp_path / "t").rglob(".*partial*"))


def test_a_worker_that_dies_is_told_and_nothing_is_lost(corpus: Path, tmp_path: Path) -> None:
    source = Source(corpus, chunk_rows=4)
    with pytest.raises(ChildProcessError, match=r"a worker process died after \d+ of 26 chunks.*the same call goes on"):
        score(source, Failing(how="killed"), tmp_path / "t", "local:workers=2")
    before = folder_bytes(tmp_path / "t" / "failing")
    assert len(before) >= 4
    score(source, Failing(how="not"), tmp_path / "t")
    after = folder_bytes(tmp_path / "t" / "failing")
    assert len(after) == 26
    assert all(after[name] == content for name, content in before.items())


def test_refuses_what_cannot_run_before_anything_is_read(corpus: Path, tmp_path: Path) -> None:
    for source, scorer, engine, message in (
        (Source(corpus), "length", "local:workers=0", "local wants workers of at least 1"),
        (Source(corpus), "length", "local:speed=2", "local has no field 'speed'; it has workers, threads"),
        (Source(corpus), "length", "spark", "datapruner.engines has no 'spark'; it has local, ray"),
        (Source(corpus), "length", "ray:cpus=0", "ray wants workers of at least 0, and cpus or gpus above 0"),
        (Source(corpus), "el2n", "local", "el2n wants labels: name their field, as in .*label='label'"),
        (Source(corpus, text=None, uid="id"), "length", "local", "length wants texts: name .*text='text'"),
    ):
        with pytest.raises(ValueError, match=message):
            score(source, scorer, tmp_path / "t", engine)
    assert not (tmp_path / "t").exists()


def test_without_ray_the_error_says_how_to_install_it(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name == "ray" or name.startswith("ray.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "prunekit\[ray\]"'):
        score(corpus, "length", tmp_path / "t", "ray")
    assert not (tmp_path / "t").exists()


def test_a_worker_refuses_rows_that_are_not_those_of_the_table(corpus: Path, tmp_path: Path) -> None:
    for uid, changed in ((None, "text"), ("id", "id")):
        source, out = Source(corpus, uid=uid, chunk_rows=10), tmp_path / str(uid)
        table = score(source, "length", out)
        table.manifest["columns"]["again"] = table.manifest["columns"]["length"]
        table.save()
        rows = make_rows(103)
        # another node sees another file of the same size
        rows[35][changed] = str(rows[35][changed])[:-1] + "?"
        other = write_jsonl(tmp_path / "elsewhere.jsonl", rows)
        worker = Worker(ScoringTask(dataclasses.replace(source, path=other), out, {"again": Failing(how="not")}))
        assert worker(2).rows == 10
        with pytest.raises(ValueError, match="elsewhere.jsonl, line 36: want the row .* of the table"):
            worker(3)


def test_a_copy_for_other_processes_holds_no_model(
    corpus: Path, tmp_path: Path, tiny_model: Callable[[str], Path]
) -> None:
    from datapruner.scorers.perplexity import Perplexity

    scorer = Perplexity(model=str(tiny_model("llama")))
    assert scorer._loaded.vocabulary == 256
    copy = ScoringTask(Source(corpus), tmp_path, {"perplexity": scorer}).portable().scorers["perplexity"]
    assert copy == scorer
    assert "_loaded" not in vars(copy)


def test_workers_take_the_gpus_in_turn_and_share_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, threads = [], []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(processes.signal, "signal", lambda *_: None)
    monkeypatch.setattr(processes.threading.Thread, "start", lambda _: None)
    monkeypatch.setattr(processes, "_makes", [])
    numbers = processes.multiprocessing.get_context("spawn").SimpleQueue()
    for number in range(3):
        numbers.put(number)
        processes._start(None, 5, numbers, None)  # type: ignore[arg-type]
    assert taken == [0, 1, 0]
    assert threads == [5, 5, 5]


def test_one_process_leaves_the_threads_as_they_were(corpus: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="something else"):
        score(corpus, Failing(), tmp_path / "t", Local(threads=before + 1))
    assert torch.get_num_threads() == before


def test_states_are_views_of_their_file(corpus: Path, tmp_path: Path) -> None:
    table = score(corpus, "length", tmp_path / "t")
    made = {
        "a": np.arange(6, dtype=np.int32).reshape(2, 3),
        "b": np.array([[1.5], [2.5]]),
        "none": np.zeros((0, 4), np.float32),
        "flags": np.array([True, False]),
        "bytes": np.array([3], np.uint8),
    }
    table.write_state("length", made)
    before = (tmp_path / "t" / "length" / "fit.safetensors").read_bytes()
    found = table.state("length")
    assert found.keys() == made.keys()
    for name, array in made.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    # torch takes them as they are, and what is written into them stays here
    torch.from_numpy(found["a"]).zero_()
    assert (tmp_path / "t" / "length" / "fit.safetensors").read_bytes() == before
