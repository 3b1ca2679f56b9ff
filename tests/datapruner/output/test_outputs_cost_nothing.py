"""Nobody loses a file: an output is never an input, and only what we wrote, and nobody added to, is replaced."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from datapruner import Output, ScoreTable, Source, prune, score, select, write
from datapruner.cli import app
from datapruner.selection.selection import Selection
from tests.datapruner.folders import folder_bytes

PRUNE = ["--scorer", "length", "--selector", "top", "--keep-ratio", "0.5"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def refused(result: Result, message: str) -> None:
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.output
    assert message in result.stderr


@pytest.fixture
def selection(table: ScoreTable) -> Selection:
    return select(table, "top", "length", 0.5)


def test_a_folder_that_is_not_ours_stays(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    refused(run("prune", corpus, *PRUNE, "--out", tmp_path / "mine", "--overwrite"), "and no datapruner output")
    assert folder_bytes(tmp_path / "mine") == {"thesis.tex": b"years of work"}
    # nothing was scored before that was known
    assert not (tmp_path / "mine.scores").exists()


@pytest.mark.parametrize("name", ["notes.txt", "kept/mine.png"])
def test_what_was_put_into_an_output_stays(name: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(4):
        Image.new("RGB", (4, 4), (50 * number, 0, 0)).save(tmp_path / "photos" / f"{number}.png")
    prune(tmp_path / "photos", "random", "top", 0.5, tmp_path / "out")
    (tmp_path / "out" / name).write_text("mine")
    before = folder_bytes(tmp_path)
    with pytest.raises(ValueError, match="not written with the rest"):
        prune(tmp_path / "photos", "random", "top", 0.75, Output(tmp_path / "out", overwrite=True))
    assert folder_bytes(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_appears_while_it_is_written_stays(
    overwrite: bool, corpus: Path, selection: Selection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    if overwrite:
        write(corpus, selection, out)

    def card(*_: object) -> str:
        out.mkdir(exist_ok=True)
        (out / "notes.txt").write_text("mine")
        return ""

    monkeypatch.setattr("datapruner.output.write.dataset_card", card)
    with pytest.raises((ValueError, OSError), match="out"):
        write(corpus, selection, Output(out, overwrite))
    assert (out / "notes.txt").read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


def test_a_recipe_replaces_nothing(corpus: Path, selection: Selection, tmp_path: Path) -> None:
    write(corpus, selection, tmp_path / "out")
    before = folder_bytes(tmp_path / "out")
    recipe = "source: corpus.jsonl\nscorers: [length]\nselect: {selector: top, keep_ratio: 0.2}\nout: "
    (tmp_path / "r.yaml").write_text(recipe + "{path: out, overwrite: true}\n")
    refused(run("run", tmp_path / "r.yaml"), "out.overwrite: a recipe replaces nothing")
    (tmp_path / "r.yaml").write_text(recipe + "out\n")
    refused(run("run", tmp_path / "r.yaml"), "is not empty")
    assert folder_bytes(tmp_path / "out") == before
    assert run("run", tmp_path / "r.yaml", "--overwrite").exit_code == 0
    # what a run is read from does not lie in what it replaces
    refused(run("run", tmp_path / "out" / "recipe.yaml", "--out", tmp_path / "out", "--overwrite"), "holds the input")


def test_a_dry_run_names_what_would_go(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prune(corpus, "length", "top", 0.5, out)
    options = ["prune", corpus, *PRUNE, "--out", out, "--dry-run"]
    before = folder_bytes(tmp_path)
    shown = run(*options, "--overwrite")
    assert shown.exit_code == 0, shown.output
    assert f"would replace {out}: .prunekit.json, README.md, dropped.jsonl, kept.jsonl, " in shown.output
    assert "would stop: " in run(*options).output
    (out / "notes.txt").write_text("mine")
    assert "which was not written with the rest" in run(*options, "--overwrite").output
    (out / "notes.txt").unlink()
    assert folder_bytes(tmp_path) == before


def test_a_selection_replaces_selections_alone(corpus: Path, selection: Selection, tmp_path: Path) -> None:
    first, table = tmp_path / "first.parquet", tmp_path / "t"
    selection.save(first)
    rows = (table / "rows" / "00000000.parquet").read_bytes()
    options = ["select", table, "--selector", "top", "--by", "length", "--keep-ratio", "0.2", "--out"]
    for path, message in (
        (corpus, "nothing that may be replaced"),
        (table / "rows" / "00000000.parquet", "lies in the input"),
        (table, "is a folder"),
    ):
        refused(run(*options, path), message)
    with pytest.raises(ValueError, match="nothing that may be replaced"):
        selection.save(table / "rows" / "00000000.parquet")
    refused(run(*options, first, "--within", first), "is the input")
    with pytest.raises(ValueError, match="is the input"):
        Selection.load(first).save(first)
    assert (table / "rows" / "00000000.parquet").read_bytes() == rows
    assert Selection.load(first).n_kept == selection.n_kept
    assert run(*options, first).exit_code == 0
    assert Selection.load(first).n_kept < selection.n_kept
    assert corpus.read_text().startswith('{"id": "doc-0"')


def test_a_report_replaces_reports_alone(corpus: Path, selection: Selection, tmp_path: Path) -> None:
    out = write(corpus, selection, tmp_path / "out")
    before = folder_bytes(tmp_path)
    for path, message in (
        (corpus, "is the input"),
        (out / "selection.parquet", "lies in the input"),
        (tmp_path / "t" / "manifest.json", "nothing that may be replaced"),
        (out / "README.md", "lies in the input"),
    ):
        refused(run("report", out, "--source", corpus, "--out", path), message)
    assert folder_bytes(tmp_path) == before
    for _ in range(2):
        made = run("report", out, "--source", corpus, "--out", tmp_path / "page.html")
        assert made.exit_code == 0, made.output
    mine = tmp_path / "mine.html"
    mine.write_text("<html>mine</html>")
    refused(run("report", out, "--out", mine), "nothing that may be replaced")


def test_scores_are_no_input(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (4, 4)).save(photos / "a.png")
    before = folder_bytes(tmp_path)
    with pytest.raises(ValueError, match="lies in the input"):
        score(photos, "random", photos / "scores")
    with pytest.raises(ValueError, match="lies in the input|holds the input"):
        prune(photos, "random", "top", 0.5, Output(tmp_path / "out", scores=photos / "scores"))
    with pytest.raises(ValueError, match="lies in the scores"):
        prune(photos, "random", "top", 0.5, Output(tmp_path / "t" / "out", scores=tmp_path / "t"))
    assert folder_bytes(tmp_path) == before


def test_a_selection_in_the_output_is_an_input(corpus: Path, selection: Selection, tmp_path: Path) -> None:
    out = write(corpus, selection, tmp_path / "out")
    before = folder_bytes(out)
    options = ["--selection", out / "selection.parquet", "--out", out, "--overwrite"]
    refused(run("write", corpus, *options), "holds the input")
    assert folder_bytes(out) == before


def test_a_column_that_is_begun_anew_takes_no_files_of_others_along(corpus: Path, tmp_path: Path) -> None:
    table = score(Source(corpus, chunk_rows=10), "length", tmp_path / "t")
    # as a run leaves it that is killed while it reads: its input is not hashed yet
    table.manifest["rows"] = table.manifest["chunks"] = None
    for file in table.manifest["input"]["files"]:
        file["blake2b"] = ""
    table.save()
    (tmp_path / "t" / "length" / "notes.txt").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "00000000.parquet").write_text("mine too")
    (tmp_path / "t" / "random").symlink_to(tmp_path / "elsewhere")
    table.manifest["columns"]["random"] = table.manifest["columns"]["length"]
    table.save()
    corpus.write_text(corpus.read_text() + '{"text": "late"}\n')
    score(Source(corpus, chunk_rows=10), "length:unit=words", tmp_path / "t")
    assert (tmp_path / "t" / "length" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "elsewhere" / "00000000.parquet").read_text() == "mine too"


@pytest.mark.parametrize("n", [5, 300])
def test_images_their_folders_and_parents_are_on_disk_before_it_is_told(
    n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    for number in range(n):
        Image.new("RGB", (2, 2), (number % 256, number // 256, 0)).save(tmp_path / "photos" / "cat" / f"{number}.png")
    synced: set[int] = set()
    whole: list[str] = []

    def record(real: Callable[[int], None]) -> Callable[[int], None]:
        def fsync(handle: int) -> None:
            synced.add(os.fstat(handle).st_ino)
            real(handle)

        return fsync

    monkeypatch.setattr(os, "fsync", record(os.fsync))
    monkeypatch.setattr("prunekernels.io.renames._sync_file_system", lambda folder: not whole.append(str(folder)))
    out = tmp_path / "deep" / "er" / "out"
    prune(tmp_path / "photos", "random", "top", 0.5, Output(out, scores=tmp_path / "scores" / "t"))
    for path in (tmp_path, tmp_path / "deep", out.parent, tmp_path / "scores"):
        assert path.stat().st_ino in synced
    if n < 256:
        assert {path.stat().st_ino for path in out.rglob("*")} | {out.stat().st_ino} <= synced
    else:
        assert len(whole) == 1
    # a table says that a column is complete when its folder is there to stay
    table = tmp_path / "scores" / "t"
    assert {table.stat().st_ino, (table / "random").stat().st_ino, (table / "rows").stat().st_ino} <= synced
