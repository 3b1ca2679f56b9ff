"""Ray: the same bytes as from one process, also when a worker is killed while it works."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from datapruner import Source, score
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.folders import folder_bytes
from tests.datapruner.scoring.engine_scorers import Failing, Logged, logged


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """A small Ray on this machine."""
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'prunekit[ray]'")
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False, logging_level="error"
    )
    yield
    ray.shutdown()
    if before is None:
        del os.environ["RAY_USAGE_STATS_ENABLED"]


def test_two_workers_leave_the_same_bytes(corpus: Path, tmp_path: Path, tiny_model: Callable[[str], Path]) -> None:
    source = Source(corpus, group="source", chunk_rows=9)
    scorers = ["near_duplicate", f"perplexity:model={tiny_model('llama')}", "length"]
    alone = score(source, scorers, tmp_path / "alone", "local:threads=1")
    # a kill left some columns of some chunks
    part = score(source, "length", tmp_path / "ray")
    part.part("length", 3).unlink()
    part.manifest["columns"]["length"]["complete"] = False
    part.save()
    found = score(source, scorers, tmp_path / "ray", "ray:workers=2")
    assert folder_bytes(found.path) == folder_bytes(alone.path)


def test_a_killed_worker_changes_nothing(tmp_path: Path) -> None:
    corpus, log = write_jsonl(tmp_path / "c.jsonl", make_rows(300)), tmp_path / "log"
    source, scorer = Source(corpus, chunk_rows=5), Logged(str(log), 0.1)
    whole = score(source, scorer, tmp_path / "whole")
    log.unlink()
    killed: list[int] = []

    def kill_one() -> None:
        # both work, and one is in the middle of a chunk
        while len({pid for pid, _ in logged(log)}) < 2:
            time.sleep(0.01)
        killed.append(logged(log)[-1][0])
        with suppress(ProcessLookupError):
            os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    found = score(source, scorer, tmp_path / "ray", "ray:workers=2")
    thread.join(timeout=1)
    assert killed
    assert folder_bytes(found.path) == folder_bytes(whole.path)
    chunks = logged(log)
    assert {row for _, row in chunks} == set(range(0, 300, 5))
    # only what the killed one had in its hands is done again
    assert 60 <= len(chunks) <= 61


def test_an_error_is_the_scorers_own(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="want something else") as caught:
        score(Source(corpus, chunk_rows=10), Failing(), tmp_path / "t", "ray:workers=1")
    assert type(caught.value) is ValueError
    assert f"rows 41 to 50, which begin at {corpus}, line 41" in " ".join(caught.value.__notes__)
    assert "in score" in str(caught.value.__cause__)


def test_refuses_what_the_cluster_has_no_room_for(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"want a Ray cluster with 1 CPUs and 1 GPUs, got .*'CPU': 2"):
        score(corpus, "near_duplicate", tmp_path / "t", "ray:gpus=1")
