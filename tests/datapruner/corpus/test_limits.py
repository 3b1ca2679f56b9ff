"""The first so many rows alone: nothing behind them is read, and they are the corpus for all that comes after."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from datapruner import ScoreTable, Selection, Source, prune, run, score, select, write
from datapruner.cli import app
from datapruner.recipe import recipe_yaml
from datapruner.recipe.dry_run import plan
from datapruner.recipe.recipe import Output, Recipe, Rule
from datapruner.selection.input_check import check_same_input
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.corpus_forms import FORMS, given, records, rows_of
from tests.datapruner.folders import folder_bytes


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Forty rows, then lines that nobody can read."""
    path = write_jsonl(tmp_path / "c.jsonl", make_rows(40))
    path.write_bytes(path.read_bytes() + b"no json\n" * 5)
    return path


@pytest.mark.parametrize("limit", [1, 7, 8, 9, 40])
def test_what_comes_behind_is_not_looked_at(limit: int, broken: Path, tmp_path: Path) -> None:
    source = Source(broken, uid="id", chunk_rows=8, limit=limit)
    assert [uid for uid, _ in records(source)] == [row["id"] for row in make_rows(limit)]
    # with a pass of its own for the fit, and chunks by their numbers
    table = score(source, ["length", "near_duplicate"], tmp_path / "t")
    whole = score(Source(make_rows(limit), uid="id", chunk_rows=8), ["length", "near_duplicate"], tmp_path / "w")
    for column in ("length", "near_duplicate"):
        np.testing.assert_array_equal(table.scores(column), whole.scores(column))
    before = folder_bytes(table.path)
    broken.write_bytes(broken.read_bytes() + b"more\n")
    assert folder_bytes(score(source, ["length", "near_duplicate"], tmp_path / "t").path) == before


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_a_beginning(form: str, tmp_path: Path) -> None:
    path = given(form, tmp_path)
    found = records(Source(path, uid="id", chunk_rows=20, limit=45))
    assert found == [(row["id"], row["text"]) for row in rows_of()[:45]]
    assert len(records(Source(path, uid="id", chunk_rows=20, limit=1000))) == len(rows_of())


def test_another_beginning_is_another_corpus(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", make_rows(40))
    table = score(Source(path, limit=10), "length", tmp_path / "t")
    for limit, message in ((12, "its first 12 rows.*its first 10 rows"), (None, "its bytes.*its first 10 rows")):
        with pytest.raises(ValueError, match=message):
            score(Source(path, limit=limit), "length", tmp_path / "t")
    rows = make_rows(40)
    rows[9] = {**rows[9], "text": "other"}
    with pytest.raises(ValueError, match="the content of c.jsonl is not that which was recorded|bytes, recorded are"):
        score(Source(write_jsonl(path, rows), limit=10), "length", tmp_path / "t")
    assert ScoreTable(tmp_path / "t").n_rows == table.n_rows == 10
    with pytest.raises(ValueError, match="want a limit of at least 1 row, got 0"):
        Source(path, limit=0)


def test_a_selection_knows_its_limit(broken: Path, tmp_path: Path) -> None:
    kept = prune(Source(broken, uid="id", limit=20), "length", "top", 0.5, tmp_path / "out")
    assert len((tmp_path / "out" / "kept.jsonl").read_text().splitlines()) == 10
    # who writes names the file alone
    for name, output in (("again", {}), ("shards", {"shard_rows": 4}), ("table", {"form": "parquet"})):
        write(broken, kept, Output(tmp_path / name, **output))
    assert (tmp_path / "again" / "kept.jsonl").read_bytes() == (tmp_path / "out" / "kept.jsonl").read_bytes()
    assert sorted(path.name for path in (tmp_path / "shards" / "kept").iterdir())[-1] == "00002.jsonl"
    assert pq.read_metadata(tmp_path / "table" / "kept.parquet").num_rows == 10
    check_same_input(Source(broken), kept)
    recipe = recipe_yaml.load(tmp_path / "out" / "recipe.yaml")
    assert recipe.source.limit == 20
    assert run(Recipe(recipe.source, recipe.scorers, recipe.select, Output(tmp_path / "r"))).kept_uids == kept.kept_uids


def test_rows_that_are_skipped_do_not_count(tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in make_rows(10)]
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(["no json", *lines[:3], "none either", *lines[3:]]) + "\n")
    source = Source(path, uid="id", on_error="skip", limit=5, chunk_rows=4)
    with pytest.warns(UserWarning, match="2 rows were skipped"):
        kept = prune(source, ["length", "near_duplicate"], Rule("top", "length"), 1.0, tmp_path / "out")
    assert kept.kept_uids == [row["id"] for row in make_rows(5)]


def test_images_that_rows_name_belong_to_it(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(4):
        Image.new("L", (3, 3), 50 * number).save(tmp_path / f"{number}.png")
    rows = [{"image": {"path": str(tmp_path / f"{number}.png"), "bytes": None}} for number in range(4)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    source = Source(tmp_path / "c.parquet", text=None, image="image", limit=2)
    score(source, "random", tmp_path / "t")
    Image.new("L", (3, 3), 9).save(tmp_path / "3.png")
    score(source, "random", tmp_path / "t")
    Image.new("L", (3, 3), 9).save(tmp_path / "1.png")
    with pytest.raises(ValueError, match="is the score table of another input"):
        score(source, "random", tmp_path / "t")


def test_on_the_command_line_and_in_a_plan(broken: Path, tmp_path: Path) -> None:
    recipe = Recipe(Source(broken, limit=12), ("length",), (Rule("top", "length", 0.5),), Output(tmp_path / "o"))
    assert (plan(recipe).rows, plan(recipe).kept) == (12, 6)
    for command in (
        ["score", broken, "--scorer", "length", "--out", tmp_path / "t", "--limit", "7"],
        [
            "select",
            tmp_path / "t",
            "--selector",
            "top",
            "--by",
            "length",
            "--keep-rows",
            "3",
            "--out",
            tmp_path / "s.parquet",
        ],
        ["write", broken, "--selection", tmp_path / "s.parquet", "--out", tmp_path / "w", "--form", "parquet"],
        [
            "report",
            tmp_path / "t",
            "--selection",
            tmp_path / "s.parquet",
            "--source",
            broken,
            "--out",
            tmp_path / "p.html",
        ],
        ["prune", broken, "--scorer", "length", "--keep-ratio", "0.5", "--limit", "4", "--out", tmp_path / "o"],
    ):
        found = CliRunner().invoke(app, [str(word) for word in command])
        assert found.exit_code == 0, found.output
    assert (ScoreTable(tmp_path / "t").n_rows, Selection.load(tmp_path / "s.parquet").n_rows) == (7, 7)
    assert pq.read_metadata(tmp_path / "w" / "kept.parquet").num_rows == 3
    assert select(tmp_path / "o.scores", "top", "length", 1.0).n_kept == 4
