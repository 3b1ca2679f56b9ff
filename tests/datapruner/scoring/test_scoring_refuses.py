"""What a score table refuses: two writers, other inputs and fields, scorers that break the contract."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import datapruner
from datapruner import Batch, Scorer, Source, prune, score, select, write
from datapruner.scoring.manifest import read_manifest, save_manifest
from datapruner.scoring.scorer import NOTHING, State
from prunekernels.io.outputs import folder_lock
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.folders import Counting, folder_bytes


def test_refuses_two_writers(corpus: Path, tmp_path: Path) -> None:
    score(corpus, "length", tmp_path / "t")
    before = folder_bytes(tmp_path / "t")
    with (
        folder_lock(tmp_path / "t", "scoring into it"),
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
        ([other, corpus], "made from 1 files, the input has 2"),
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
    with pytest.raises(ValueError, match="is the input"):
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
    manifest = read_manifest(table.path / "manifest.json")
    manifest["input"]["files"][0]["blake2b"] = "0" * 32
    save_manifest(killed, {**manifest, "rows": None, "chunks": None, "columns": {}})
    (killed / "rows" / "00000000.parquet").write_bytes(b"of the other input")
    score(Source(corpus, chunk_rows=10), "length", killed)
    assert folder_bytes(killed) == folder_bytes(table.path)


def test_refuses_input_that_changes_while_it_is_read(corpus: Path, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Meddling(Counting):
        def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
            with open(corpus, "a") as file:
                file.write('{"text": "late"}\n')
            return super().score(batch, state)

    score(corpus, "length", tmp_path / "t")
    before = folder_bytes(tmp_path / "t")
    with pytest.raises(ValueError, match="was changed while it was read"):
        score(corpus, Meddling(), tmp_path / "t")
    assert folder_bytes(tmp_path / "t") == before


@dataclass(frozen=True)
class Wrong(Scorer):
    """Breaks the contract in the way it is told."""

    how: str = "nan"

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
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
    assert not (tmp_path / "t" / "counting").exists()


def test_a_pass_that_was_killed_before_the_input_was_hashed_begins_anew(corpus: Path, tmp_path: Path) -> None:
    table = score(Source(corpus, chunk_rows=10), "length", tmp_path / "whole")
    killed = tmp_path / "t"
    shutil.copytree(table.path, killed)
    (killed / "chunks.parquet").unlink()
    (killed / "rows" / "00000000.parquet").write_bytes(b"of who knows what")
    manifest = read_manifest(table.path / "manifest.json")
    manifest["input"]["files"][0]["blake2b"] = ""
    save_manifest(killed, {**manifest, "rows": None, "chunks": None})
    score(Source(corpus, chunk_rows=10), "length", killed)
    assert folder_bytes(killed) == folder_bytes(table.path)


def test_an_input_that_cannot_be_hashed_leaves_no_table(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> str:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr("datapruner.corpus.fingerprint.digest", broken)
    with pytest.raises(OSError, match="Input/output error"):
        score(corpus, "length", tmp_path / "t")
    assert not (tmp_path / "t").exists()
