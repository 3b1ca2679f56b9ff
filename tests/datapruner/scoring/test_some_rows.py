"""Columns of some rows alone: of those that an earlier step keeps, of a sample, of the first ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

import datapruner
from datapruner import Batch, Output, Recipe, Rule, Scorer, ScoreTable, Source, State, prune, run, score, select, write
from datapruner.cli import app
from datapruner.output.report.page import render
from datapruner.recipe import recipe_yaml
from datapruner.recipe.dry_run import plan
from datapruner.recipe.steps import with_named_columns
from datapruner.scoring.scorer import NOTHING
from tests.datapruner.folders import SEEN, Counting


@dataclass(frozen=True)
class OverMean(Scorer):
    """How much longer than the mean of the rows that are looked at; rows may be left out."""

    fits_some_rows: ClassVar[bool] = True

    def fit(self, corpus: Iterable[Batch]) -> State:
        return {"mean": np.array([np.mean([len(text) for batch in corpus for text in batch.texts])])}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        return np.array([len(text) for text in batch.texts] - state["mean"], dtype=np.float32)

    def details(self, batch: Batch) -> dict[str, np.ndarray]:
        return {"place": batch.rows}


def test_only_what_an_earlier_step_keeps_is_scored(corpus: Path, tmp_path: Path) -> None:
    source = Source(corpus, chunk_rows=10)
    table = score(source, "length", tmp_path / "t")
    # whole chunks without a row of it, and some with a few
    rows = np.array([3, 5, 8, 41, 42, 43, 44, 45, 46, 47, 48, 49, 102])
    lengths = table.scores("length")
    table = score(source, OverMean(), tmp_path / "t", rows=rows)
    found = table.scores("over_mean")
    assert (np.flatnonzero(~np.isnan(found)) == rows).all()
    np.testing.assert_allclose(found[rows], lengths[rows] - lengths[rows].mean(), rtol=1e-5)
    kept = select(table, "top", "over_mean", 0.5)
    assert kept.n_kept == 7
    assert set(kept.kept) <= set(rows)
    assert kept.counts()["no score in over_mean"] == 90
    kept.save(tmp_path / "s.parquet")
    assert datapruner.Selection.load(tmp_path / "s.parquet").said(3, 5)["over_mean.place"] == [3, None]
    # a part of them competes, and the report knows the others
    some = select(table, "threshold:minimum=60", "length")
    both = select(table, "top", "over_mean", datapruner.Budget(rows=2), within=some)
    assert set(both.kept) <= set(rows) & set(some.kept)
    assert "no score in over_mean" in render(both, source, table)
    with pytest.raises(ValueError, match="want rows with scores in over_mean, got none"):
        select(table, "top", "over_mean", 0.5, within=select(table, "threshold:maximum=0", "length"))


def test_scored_again_for_other_rows_is_refused(corpus: Path, tmp_path: Path) -> None:
    table = score(corpus, "length", tmp_path / "t")
    SEEN.clear()
    kept = select(table, "top", "length", 0.2)
    for _ in range(2):
        score(corpus, Counting(), tmp_path / "t", rows=kept)
    assert kept.kept.tolist() == SEEN
    for rows in (None, [1, 2]):
        with pytest.raises(ValueError, match="has a column 'counting' with rows"):
            score(corpus, Counting(), tmp_path / "t", rows=rows)


def test_refuses_rows_where_there_can_be_none(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="want a table for rows="):
        score(corpus, "length", tmp_path / "t", rows=[1])
    table = score(corpus, "length", tmp_path / "t")
    for scorer, message in (
        ("near_duplicate", "near_duplicate compares each row with the whole corpus"),
        ("hashed_ngrams", "hashed_ngrams holds vectors"),
    ):
        with pytest.raises(ValueError, match=message):
            score(corpus, scorer, tmp_path / "t", rows=[1])
    for rows, got in (([], "none"), ([103], "103 to 103"), ([-1, 3], "-1 to 3")):
        with pytest.raises(ValueError, match=rf"want rows of \[0, 103\), got {got}"):
            score(corpus, "random", tmp_path / "t", rows=rows)
    other = tmp_path / "other.jsonl"
    other.write_text('{"text": "a"}\n')
    with pytest.raises(ValueError, match="score table of another input"):
        score(
            corpus, "random", tmp_path / "t", rows=select(score(other, "length", tmp_path / "o"), "top", keep_ratio=1.0)
        )
    assert table.columns == ["length"]


def test_a_step_scores_what_the_one_before_keeps(corpus: Path, tmp_path: Path) -> None:
    SEEN.clear()
    steps = [Rule("threshold:minimum=100", "length"), Rule("top", "counting", 0.5, scorers=(Counting(),))]
    recipe = Recipe(Source(corpus), ("length",), tuple(steps), Output(tmp_path / "out"))
    assert [column.name for column in plan(with_named_columns(recipe)).columns] == ["length", "counting"]
    SEEN.clear()
    kept = run(recipe)
    first = select(ScoreTable(tmp_path / "out.scores"), "threshold:minimum=100", "length")
    assert first.kept.tolist() == SEEN
    assert kept.n_kept == -(-first.n_kept // 2)
    assert kept.kept_uids == prune(corpus, ["length"], steps, None, tmp_path / "again").kept_uids


def test_the_same_in_yaml_and_on_the_command_line(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        f"source: {corpus}\nscorers: [length]\nselect:\n- where: length >= 100\n"
        "- {scorers: ['r=random:seed=3'], selector: top, by: r, keep_rows: 5}\nout: out\n"
    )
    recipe = recipe_yaml.load(tmp_path / "r.yaml")
    assert recipe_yaml.load(_written(tmp_path / "again.yaml", recipe_yaml.dump(recipe))) == recipe
    kept = run(recipe)
    assert (kept.n_kept, len(kept.steps)) == (5, 2)
    table, first, second = tmp_path / "t", tmp_path / "first.parquet", tmp_path / "second.parquet"
    for command in (
        ["score", corpus, "--scorer", "length", "--out", table],
        ["select", table, "--selector", "threshold:minimum=100", "--out", first],
        ["score", corpus, "--scorer", "r=random:seed=3", "--out", table, "--rows", first],
        ["select", table, "--selector", "top", "--by", "r", "--keep-rows", "5", "--within", first, "--out", second],
    ):
        found = CliRunner().invoke(app, [str(word) for word in command])
        assert found.exit_code == 0, found.output
    assert datapruner.Selection.load(second).kept_uids == kept.kept_uids
    write(corpus, kept, tmp_path / "pruned")


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
