"""Outputs at URLs: copied when they are complete, refused before anything is made where they cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

import datapruner
from datapruner import Output, ScoreTable, Selection, Source, prune, score, select, write
from datapruner.cli import app
from tests.datapruner.folders import folder_bytes


@pytest.fixture
def memory() -> fsspec.AbstractFileSystem:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    return filesystem


def remote_bytes(memory: fsspec.AbstractFileSystem, folder: str) -> dict[str, bytes]:
    return {path.removeprefix(f"{folder}/"): memory.cat(path) for path in memory.find(folder)}


def test_an_output_at_a_url_is_the_one_on_disk(table: ScoreTable, corpus: Path, tmp_path: Path, memory: object) -> None:
    kept = select(table, "top", "length", 0.5)
    assert write(corpus, kept, "memory://bucket/deep/out") == "memory://bucket/deep/out"
    write(corpus, kept, tmp_path / "out")
    here, there = folder_bytes(tmp_path / "out"), remote_bytes(memory, "/bucket/deep/out")  # type: ignore[arg-type]
    # the recipe says where the corpus is, the mark how long the recipe
    assert here.keys() == there.keys()
    assert all(here[name] == there[name] for name in here.keys() - {"recipe.yaml", ".prunekit.json"})
    assert f"path: {corpus}" in there["recipe.yaml"].decode()


def test_nothing_at_a_url_is_replaced(
    table: ScoreTable, corpus: Path, memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = select(table, "top", "length", 0.5)
    memory.pipe("/bucket/out/letter.txt", b"mine")
    for out in ("memory://bucket/out", Output("memory://bucket/out", overwrite=True)):
        with pytest.raises(ValueError, match="is there already, and at a URL nothing is replaced"):
            write(corpus, kept, out)
    with pytest.raises(ValueError, match="is there already"):
        kept.save("memory://bucket/out/letter.txt")
    assert memory.find("/bucket") == ["/bucket/out/letter.txt"]


def test_a_selection_at_a_url(table: ScoreTable, memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    kept = select(table, "top", "length", 0.5)
    kept.save("memory://bucket/s.parquet")
    memory.get("/bucket/s.parquet", str(tmp_path / "s.parquet"))
    assert Selection.load(tmp_path / "s.parquet").kept_uids == kept.kept_uids
    with pytest.raises(ValueError, match="copy it here first"):
        Selection.load("memory://bucket/s.parquet")
    kept.save(f"file://{tmp_path}/here.parquet")
    assert (tmp_path / "here.parquet").exists()


@pytest.mark.parametrize("url", ["s3://b/t", "memory://b/t", Path("s3://b/t")])
def test_a_table_at_a_url_is_refused_before_anything_is_made(
    url: str | Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir())
    for call in (
        lambda: score(corpus, "length", url),
        lambda: ScoreTable(url),
        lambda: prune(corpus, "length", "top", 0.5, Output("out", scores=url)),
    ):
        with pytest.raises(
            ValueError, match="want a folder of this machine for the score table.*got (s3|memory)://b/t"
        ):
            call()
    found = CliRunner().invoke(app, ["score", str(corpus), "--scorer", "length", "--out", str(url)])
    assert found.exit_code != 0
    assert sorted(os.listdir()) == before


def test_prune_to_a_url(corpus: Path, tmp_path: Path, memory: fsspec.AbstractFileSystem) -> None:
    with pytest.raises(ValueError, match="want a folder of this machine for the score table"):
        prune(corpus, "length", "top", 0.5, "memory://bucket/out")
    kept = prune(Source(corpus, uid="id"), "length", "top", 0.5, Output("memory://bucket/out", scores=tmp_path / "t"))
    assert len(memory.cat("/bucket/out/kept.jsonl").splitlines()) == kept.n_kept
    assert datapruner.ScoreTable(f"file://{tmp_path}/t").columns == ["length"]
