"""The score table: resuming, adding, refusing, and one writer at a time."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import datapruner
from datapruner import Batch, Scorer, ScoreTable, Source, prune, score, select, write
from datapruner.files import locked
from tests.datapruner.conftest import make_rows, write_jsonl

ROOT = Path(__file__).resolve().parents[2]


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Counting(Scorer):
    """Counts how many rows it is asked for; fails when it has seen `fails_at`."""

    fails_at: int | None = None

    def score(self, batch: Batch) -> np.ndarray:
        if self.fails_at is not None and batch.rows[0] >= self.fails_at:
            raise RuntimeError("the power is gone")
        SEEN.extend(batch.rows.tolist())
        return np.array([len(text) for text in batch.texts], dtype=np.float32)


SEEN: list[int] = []


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
    assert table.columns == ["length", "long", "test_table"]
    after = folder_bytes(tmp_path / "t")
    assert all(after[name] == content for name, content in before.items() if name != "manifest.json")
    both = score(source, ["length", "long=length:unit=words", Counting()], tmp_path / "both")
    assert folder_bytes(both.path) == after


def test_goes_on_at_the_chunk_where_it_stopped(corpus: Path, tmp_path: Path) -> None:
    source = Source(corpus, chunk_rows=10)
    SEEN.clear()

    @dataclass(frozen=True)
    class Failing(Counting):
        def scoring_fields(self) -> dict[str, datapruner.scorer.Value]:
            return {"fails_at": None}

    with pytest.raises(RuntimeError):
        score(source, Failing(fails_at=50), tmp_path / "t")
    assert list(range(50)) == SEEN
    unfinished = ScoreTable(tmp_path / "t")
    assert unfinished.columns == []
    with pytest.raises(ValueError, match="no finished column 'test_table'"):
        unfinished.scores("test_table")
    score(source, Failing(), tmp_path / "t")
    assert list(range(103)) == SEEN


SCRIPT = """
    import sys, time
    from datapruner import Source, score
    from datapruner.scorers.length import Length
    from datapruner.scorers.near_duplicate import NearDuplicate
    plain = Length.score
    def slowly(self, batch):
        time.sleep(0.01)
        print(batch.rows[0], file=open(sys.argv[3], "a"))
        return plain(self, batch)
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
        # from the first pass to the last chunks
        time.sleep(0.05 + 0.15 * step + draw.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    # what a write leaves when it is cut off in the middle
    (tmp_path / "t" / "length").mkdir(parents=True, exist_ok=True)
    (tmp_path / "t" / "length" / ".tmp-1-00000000.parquet").write_bytes(b"PAR1")
    assert _start(corpus, tmp_path / "t", log).wait() == 0
    assert folder_bytes(tmp_path / "t") == folder_bytes(tmp_path / "whole")
    # a chunk is scored once, but for those in which a kill fell
    assert len(log.read_text().split()) <= 60 + kills


def test_refuses_two_writers(corpus: Path, tmp_path: Path) -> None:
    score(corpus, "length", tmp_path / "t")
    before = folder_bytes(tmp_path / "t")
    with (
        locked(tmp_path / "t"),
        pytest.raises(BlockingIOError, match="in use: another process is scoring into it"),
    ):
        score(corpus, "random", tmp_path / "t")
    assert folder_bytes(tmp_path / "t") == before
    score(corpus, "random", tmp_path / "t")


def test_refuses_the_table_of_another_input(corpus: Path, tmp_path: Path) -> None:
    table = score(corpus, "length", tmp_path / "t")
    selection = select(table, "top", keep_ratio=0.5)
    rows = make_rows(103)
    # one letter of one row, the size unchanged
    rows[50]["text"] = str(rows[50]["text"])[:-1] + "?"
    other = write_jsonl(tmp_path / "other.jsonl", rows)
    longer = write_jsonl(tmp_path / "longer.jsonl", [*make_rows(103), {"text": "one more"}])
    for wrong, reason in (
        (other, "the content of other.jsonl is not that"),
        (longer, "longer.jsonl has .* bytes, recorded are"),
        ([corpus, other], "made from 1 files, the input has 2"),
    ):
        before = folder_bytes(tmp_path)
        with pytest.raises(ValueError, match=f"score table of another input: .*{reason}"):
            score(wrong, "length", tmp_path / "t")
        with pytest.raises(ValueError, match=f"selection is of another input: .*{reason}"):
            write(wrong, selection, tmp_path / "pruned")
        output = datapruner.Output(tmp_path / "pruned", scores=tmp_path / "t")
        with pytest.raises(ValueError, match=f"score table of another input: .*{reason}"):
            prune(wrong, "length", "top", 0.5, output)
        assert folder_bytes(tmp_path) == before
        assert not (tmp_path / "pruned").exists()
    # the same bytes under another name are the same input
    moved = corpus.rename(tmp_path / "moved.jsonl")
    assert score(moved, "length", tmp_path / "t").n_rows == 103
    assert write(moved, selection, tmp_path / "pruned").exists()


def test_refuses_other_fields_of_the_same_name(corpus: Path, tmp_path: Path) -> None:
    score(Source(corpus), "length", tmp_path / "t")
    before = folder_bytes(tmp_path / "t")
    for source, scorer, message in (
        (Source(corpus), "length:unit=words", "a column 'length' with fields .*characters.* wanted is .*words"),
        (Source(corpus), "length=random", "a column 'length' with method length, wanted is random"),
        (Source(corpus, uid="id"), "length", "made with uid=None, wanted is uid='id'"),
        (Source(corpus, text="id"), "length", "made with text='text', wanted is text='id'"),
        (Source(corpus, chunk_rows=5), "length", "made with chunk_rows=4096, wanted is chunk_rows=5"),
        (Source(corpus), ["random", "random:seed=2"], "column 'random' is taken"),
        (Source(corpus), "rows=random", "column 'rows' is taken"),
        (Source(corpus), "shortness", "has no 'shortness'; it has "),
    ):
        with pytest.raises(ValueError, match=message):
            score(source, scorer, tmp_path / "t")
    assert folder_bytes(tmp_path / "t") == before


def test_refuses_another_version_or_model(
    corpus: Path, tmp_path: Path, tiny_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = f"perplexity:model={tiny_model('llama')}"
    score(corpus, [spec, "length"], tmp_path / "t")
    with pytest.raises(ValueError, match="a column 'perplexity' with identity"):
        score(corpus, f"perplexity:model={tiny_model('gpt2')}", tmp_path / "t")
    # where the model lies and how it is batched makes no other column
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tiny_model("llama").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert score(corpus, f"perplexity:model={copy},batch_tokens=99", tmp_path / "t").n_rows == 103
    monkeypatch.setattr("datapruner.scorers.length.Length.version", 2)
    with pytest.raises(ValueError, match="a column 'length' with version 1, wanted is 2"):
        score(corpus, "length", tmp_path / "t")


def test_refuses_folders_that_are_no_table(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="no score table and not empty: it has thesis.tex"):
        score(corpus, "length", tmp_path / "mine")
    with pytest.raises(ValueError, match="want a folder for the scores, got the file"):
        score(corpus, "length", corpus)
    with pytest.raises(ValueError, match="is no score table"):
        select(tmp_path / "mine", "top", keep_ratio=0.5)
    assert folder_bytes(tmp_path / "mine") == {"thesis.tex": b"years of work"}
    # an empty folder that was there stays when the input is refused, and nothing in it
    (tmp_path / "there").mkdir()
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match="at least one row"):
        score(tmp_path / "empty.jsonl", "length", tmp_path / "there")
    assert folder_bytes(tmp_path / "there") == {}


def test_a_mended_input_is_not_held_up_by_a_killed_first_pass(corpus: Path, tmp_path: Path) -> None:
    table = score(Source(corpus, chunk_rows=10), "length", tmp_path / "whole")
    killed = tmp_path / "t"
    (killed / "rows").mkdir(parents=True)
    manifest = json.loads((table.path / "manifest.json").read_text())
    manifest["input"]["files"][0]["blake2b"] = "0" * 32
    (killed / "manifest.json").write_text(json.dumps({**manifest, "rows": None, "chunks": None, "columns": {}}))
    (killed / "rows" / "00000000.parquet").write_bytes(b"of the other input")
    score(Source(corpus, chunk_rows=10), "length", killed)
    assert folder_bytes(killed) == folder_bytes(table.path)


def test_refuses_input_that_changes_while_it_is_read(corpus: Path, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Meddling(Counting):
        def score(self, batch: Batch) -> np.ndarray:
            with open(corpus, "a") as file:
                file.write('{"text": "late"}\n')
            return super().score(batch)

    score(corpus, "length", tmp_path / "t")
    before = folder_bytes(tmp_path / "t")
    with pytest.raises(ValueError, match="was changed while it was read"):
        score(corpus, Meddling(), tmp_path / "t")
    assert folder_bytes(tmp_path / "t") == before


def test_parts_hold_no_time_and_no_place(corpus: Path, tmp_path: Path) -> None:
    scorers = ["length", "near_duplicate", "random"]
    first = score(corpus, scorers, tmp_path / "first")
    time.sleep(1.1)
    second = score(corpus, scorers[::-1], tmp_path / "deep" / "second")
    assert folder_bytes(first.path) == folder_bytes(second.path)
    assert str(tmp_path) not in (first.path / "manifest.json").read_text()
    assert pq.read_schema(first.part("length", 0)).metadata is None


@dataclass(frozen=True)
class Wrong(Scorer):
    """Breaks the contract in the way it is told."""

    how: str = "nan"

    def score(self, batch: Batch) -> np.ndarray:
        scores = np.ones(len(batch), dtype=np.float32)
        if self.how == "double":
            return scores.astype(np.float64)
        if self.how == "short":
            return scores[:-1]
        scores[3] = np.nan if self.how == "nan" else np.inf
        return scores


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("double", r"Wrong wants float32 \[103\], got float64"),
        ("short", r"Wrong wants float32 \[103\], got float32 \[102\]"),
        ("nan", "Wrong wants finite scores, got nan for uid 'doc-3'"),
        ("inf", "Wrong wants finite scores, got inf for uid 'doc-3'"),
    ],
)
def test_refuses_a_scorer_that_breaks_the_contract(corpus: Path, tmp_path: Path, how: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(Source(corpus, uid="id"), Wrong(how=how), tmp_path / "t")
    assert not (tmp_path / "t" / "test_table").exists()
