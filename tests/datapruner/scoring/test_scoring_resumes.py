"""The score table: resuming, adding, refusing, and one writer at a time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import datapruner
from datapruner import ScoreTable, Source, score
from datapruner.scorers.length import Length
from datapruner.scoring.first_pass import MOST_WAITING
from datapruner.scoring.scorer import Batch, State
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.folders import SEEN, Counting, folder_bytes

ROOT = Path(__file__).resolve().parents[3]


def test_columns_in_the_order_of_the_rows(corpus: Path, tmp_path: Path) -> None:
    rows = make_rows(103)
    table = score(Source(corpus, uid="id", group="source", chunk_rows=10), ["length", "random"], tmp_path / "t")
    assert table.n_rows == 103
    assert table.columns == ["length", "random"]
    assert table.scores("length").tolist() == [len(str(row["text"])) for row in rows]
    assert table.scores("length").dtype == np.float32
    for field, key in (("uid", "id"), ("group", "source")):
        assert table.read("rows", field).to_pylist() == [row[key] for row in rows]
    assert table.read("rows", "row").to_pylist() == list(range(103))
    assert len(list((tmp_path / "t" / "length").iterdir())) == 11


def test_chunks_do_not_change_scores(corpus: Path, tmp_path: Path) -> None:
    scorers = ["length", "random:seed=3", "near_duplicate"]
    tables = [score(Source(corpus, chunk_rows=n), scorers, tmp_path / str(n)) for n in (1, 7, 4096)]
    for name in ("length", "random", "near_duplicate"):
        assert all((table.scores(name) == tables[0].scores(name)).all() for table in tables)


def test_adding_a_column_scores_nothing_again(corpus: Path, tmp_path: Path) -> None:
    source = Source(corpus, chunk_rows=10)
    SEEN.clear()
    score(source, Counting(), tmp_path / "t")
    before = folder_bytes(tmp_path / "t")
    table = score(source, [Counting(), "long=length:unit=words", "length"], tmp_path / "t")
    assert list(range(103)) == SEEN
    assert table.columns == ["counting", "length", "long"]
    after = folder_bytes(tmp_path / "t")
    assert all(after[name] == content for name, content in before.items() if name != "manifest.json")
    both = score(source, ["length", "long=length:unit=words", Counting()], tmp_path / "both")
    assert folder_bytes(both.path) == after


def test_goes_on_at_the_chunk_where_it_stopped(corpus: Path, tmp_path: Path) -> None:
    source = Source(corpus, chunk_rows=10)
    SEEN.clear()

    @dataclass(frozen=True)
    class Failing(Counting):
        def scoring_fields(self) -> dict[str, datapruner.scoring.scorer.Value]:
            return {"fails_at": None}

    with pytest.raises(RuntimeError):
        score(source, Failing(fails_at=50), tmp_path / "t")
    assert list(range(50)) == SEEN
    unfinished = ScoreTable(tmp_path / "t")
    assert unfinished.columns == []
    with pytest.raises(ValueError, match="no finished column 'failing'"):
        unfinished.scores("failing")
    score(source, Failing(), tmp_path / "t")
    assert list(range(103)) == SEEN


SCRIPT = """
    import sys, time
    from datapruner import Source, score
    from datapruner.scorers.length import Length
    from datapruner.scorers.near_duplicate import NearDuplicate
    plain = Length.score
    def slowly(self, batch, state):
        time.sleep(0.01)
        print(batch.rows[0], file=open(sys.argv[3], "a"))
        return plain(self, batch, state)
    Length.score = slowly
    print("ready", flush=True)
    score(Source(sys.argv[1], chunk_rows=5), ["near_duplicate", "length"], sys.argv[2])
"""


def _start(corpus: Path, out: Path, log: Path) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(corpus), str(out), str(log)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def test_killed_at_random_moments_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", make_rows(300))
    score(Source(corpus, chunk_rows=5), ["near_duplicate", "length"], tmp_path / "whole")
    draw, kills = random.Random(1), 0
    log = tmp_path / "log"
    for step in range(4):
        process = _start(corpus, tmp_path / "t", log)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        # once before anything is written perhaps, then from the first pass to the last chunks
        while step and process.poll() is None and not (tmp_path / "t" / "manifest.json").exists():
            time.sleep(0.005)
        time.sleep(0.15 * step + draw.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    # what a write leaves when it is cut off in the middle
    left = tmp_path / "t" / "length" / ".00000000.parquet.partial-0123456789abcdef"
    left.mkdir(parents=True)
    (left / "00000000.parquet").write_bytes(b"PAR1")
    assert _start(corpus, tmp_path / "t", log).wait() == 0
    assert folder_bytes(tmp_path / "t") == folder_bytes(tmp_path / "whole")
    # a chunk is scored once, but for those that were not on disk when a kill fell: in line, and the one at hand
    assert 60 <= len(log.read_text().split()) <= 60 + kills * (MOST_WAITING + 1)


def test_cheap_scores_are_few_chunks_ahead_of_the_disk(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    ahead: list[int] = []
    plain, real = Length.score, ScoreTable.write_part

    def counted(self: Length, batch: Batch, state: State) -> np.ndarray:
        scored.append(len(batch))
        return plain(self, batch, state)

    def slowly(self: ScoreTable, column: str, chunk: int, table: pa.Table) -> None:
        # the disk is so slow that the next chunks are scored as far as they may be
        time.sleep(0.03)
        real(self, column, chunk, table)
        ahead.append(len(scored) - chunk)

    monkeypatch.setattr(Length, "score", counted)
    monkeypatch.setattr(ScoreTable, "write_part", slowly)
    score(Source(corpus, chunk_rows=5), "length", tmp_path / "t")
    # what a kill before this part would have cost
    assert max(ahead) == MOST_WAITING + 1


def test_parts_hold_no_time_and_no_place(corpus: Path, tmp_path: Path) -> None:
    scorers = ["length", "near_duplicate", "random"]
    first = score(corpus, scorers, tmp_path / "first")
    time.sleep(1.1)
    second = score(corpus, scorers[::-1], tmp_path / "deep" / "second")
    assert folder_bytes(first.path) == folder_bytes(second.path)
    assert str(tmp_path) not in (first.path / "manifest.json").read_text()
    assert pq.read_schema(first.part("length", 0)).metadata is None
