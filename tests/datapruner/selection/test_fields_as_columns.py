"""What rows have already, as columns: numbers to select by, groups, tokens; and one budget for several tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from datapruner import Budget, Output, Per, Rule, ScoreTable, Selection, Source, prune, score, select, select_together
from datapruner.cli import app
from tests.datapruner.conftest import make_rows, write_jsonl


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """60 rows with an `int_score` of 0 to 5, a nested score and a nested site."""
    rows = [
        {**row, "int_score": n % 6, "meta": {"score": n / 60, "site": f"site-{n % 4}"}}
        for n, row in enumerate(make_rows(60))
    ]
    return write_jsonl(tmp_path / "rated.jsonl", rows)


def written(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "kept.jsonl").read_text().splitlines()]


def test_filter_by_numbers_of_the_rows(rated: Path, tmp_path: Path) -> None:
    conditions = ["--where", "int_score >= 3", "--where", "meta.score <= 0.8"]
    found = CliRunner().invoke(
        app, ["prune", str(rated), "--scorer", "length", *conditions, "--by", "length", "--selector", "top",
              "--keep-rows", "7", "--out", str(tmp_path / "out")]
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    rows = written(tmp_path / "out")
    assert len(rows) == 7
    assert all(row["int_score"] >= 3 and row["meta"]["score"] <= 0.8 for row in rows)  # type: ignore[operator, index]
    # both ends are kept, and the recipe makes it again
    table = ScoreTable(tmp_path / "out.scores")
    assert select(table, "threshold:minimum=3", "int_score").n_kept == 30
    again = CliRunner().invoke(app, ["run", str(tmp_path / "out" / "recipe.yaml"), "--out", str(tmp_path / "again")])
    assert again.exit_code == 0, again.output
    assert written(tmp_path / "again") == rows
    with pytest.raises(ValueError, match="want by=<column>, one of length, got 'no_score'"):
        prune(rated, "length", Rule("top", "no_score"), 0.5, tmp_path / "no")
    with pytest.raises(ValueError, match="want by=<column>, one of length, got 'source'"):
        prune(rated, "length", Rule("top", "source"), 0.5, tmp_path / "no")


def test_another_grouping_scores_nothing_again(rated: Path, tmp_path: Path) -> None:
    score(Source(rated, group="source"), "length", tmp_path / "t")
    before = (tmp_path / "t" / "length" / "00000000.parquet").stat().st_mtime_ns
    with pytest.raises(ValueError, match='add the scorer "NAME=group:name=FIELD", and select with per=NAME'):
        score(Source(rated, group="meta.site"), "length", tmp_path / "t")
    table = score(Source(rated, group="source"), ["length", "site=group:name=meta.site"], tmp_path / "t")
    assert (tmp_path / "t" / "length" / "00000000.parquet").stat().st_mtime_ns == before
    kept = select(table, "top", "length", per=Per("site", counts={"site-0": 2, "site-3": 5}))
    assert kept.n_kept == 7
    assert {int(row) % 4 for row in kept.kept} == {0, 3}
    assert [len(set(table.scores("site")[n::4])) for n in range(4)] == [1] * 4
    with pytest.raises(ValueError, match="score with it|score word=group:name=word too"):
        select(table, "top", "length", 0.5, per="word")
    # a run takes a group as it comes
    selection = prune(
        rated, "length", "top", Budget(rows=8), Output(tmp_path / "out", scores=tmp_path / "t"), "meta.site"
    )
    assert np.bincount(selection.kept % 4).tolist() == [2, 2, 2, 2]
    assert ">site-2<" not in (tmp_path / "out" / "report.html").read_text() or selection.n_kept == 8


def test_tokens_of_another_tokenizer(rated: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="want counted_by='words' beside a number of tokens, got rows"):
        Budget(rows=3, counted_by="words")
    table = score(rated, ["length", "words=length:unit=words", "tokens"], tmp_path / "t")
    words = table.scores("words")
    kept = select(table, "top", "length", Budget(tokens=300, counted_by="words"))
    order = np.lexsort([np.arange(60), -table.scores("length")])
    assert kept.n_kept == int((np.cumsum(words[order]) <= 300).sum())
    plain = select(table, "top", "length", Budget(tokens=300))
    same = select(table, "top", "length", Budget(tokens=300, counted_by="tokens"))
    assert plain.kept.tolist() == same.kept.tolist() != kept.kept.tolist()
    score(rated, "odd=random", tmp_path / "t")
    with pytest.raises(ValueError, match="want whole numbers of tokens in 'odd'"):
        select(ScoreTable(tmp_path / "t"), "top", "length", Budget(tokens=300, counted_by="odd"))


def test_other_chunk_sizes_score_nothing_again(rated: Path, tmp_path: Path) -> None:
    table = score(Source(rated, chunk_rows=7), "length", tmp_path / "t")
    again = score(Source(rated, chunk_rows=50, chunk_bytes=1000), ["length", "random"], tmp_path / "t")
    assert again.manifest["input"] == table.manifest["input"]
    assert len([*(tmp_path / "t" / "random").iterdir()]) == 9


@pytest.fixture
def shards(tmp_path: Path) -> list[ScoreTable]:
    rows = make_rows(90, seed=4)
    tables = []
    for number, part in enumerate((rows[:50], rows[50:60], rows[60:])):
        path = write_jsonl(tmp_path / f"shard-{number}.jsonl", part)
        tables.append(score(Source(path, uid="id", group="source"), ["length", "random"], tmp_path / f"t{number}"))
    return tables


@pytest.mark.parametrize("per", [None, Per("source", "equal"), Per("source", counts={"web": 9, "book": 4})])
@pytest.mark.parametrize("by", ["length", {"length": 0.7, "random": -0.3}])
def test_one_budget_for_several_tables(
    shards: list[ScoreTable], tmp_path: Path, per: Per | None, by: str | dict[str, float]
) -> None:
    path = write_jsonl(tmp_path / "whole.jsonl", make_rows(90, seed=4))
    whole = score(Source(path, uid="id", group="source"), ["length", "random"], tmp_path / "whole")
    budget = None if per is not None and per.counts else Budget(rows=20)
    wanted = select(whole, "top", by, budget, per)
    found = select_together(shards, "top", by, budget, per)
    assert [uid for one in found for uid in one.kept_uids] == wanted.kept_uids
    assert sum((np.array([*one.counts().values()]).sum() for one in found), 0) == 90 - wanted.n_kept
    assert [one.steps[0]["rows"] for one in found] == [50, 10, 30]
    # each stands by itself, and may be gone on from
    for one, table in zip(found, shards, strict=True):
        one.save(tmp_path / "s.parquet")
        assert Selection.load(tmp_path / "s.parquet").kept_uids == one.kept_uids
        assert one.steps[0]["tables"] == 3
        assert table.manifest["input"] == one.input
    later = select_together(shards, "bottom", "random", Budget(rows=5), within=found)
    again = select(whole, "bottom", "random", Budget(rows=5), within=wanted)
    assert [uid for one in later for uid in one.kept_uids] == again.kept_uids


def test_tables_that_do_not_fit_together(shards: list[ScoreTable], tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "other.jsonl", make_rows(5))
    other = score(path, ["length:unit=words", "random"], tmp_path / "other")
    with pytest.raises(ValueError, match="want tables whose 'length' was made the same way"):
        select_together([*shards, other], "top", "length", 0.5)
    with pytest.raises(ValueError, match="has no finished column 'longth'"):
        select_together(shards, "top", "longth", 0.5)
    with pytest.raises(ValueError, match="was scored with no group column"):
        select_together([*shards, other], "top", "random", 0.5, "source")
    with pytest.raises(ValueError, match="want one table for a rule that reads vectors"):
        select_together(shards, "farthest_point", None, 0.5)


def test_several_tables_on_the_command_line(shards: list[ScoreTable], tmp_path: Path) -> None:
    tables = [str(table.path) for table in shards]
    outs = [str(tmp_path / f"s{number}.parquet") for number in range(3)]
    words = ["--selector", "top", "--by", "length", "--keep-rows", "12"]
    found = CliRunner().invoke(app, ["select", *tables, *words, *(word for out in outs for word in ("--out", out))])
    assert found.exit_code == 0, found.output
    assert sum(Selection.load(out).n_kept for out in outs) == 12
    found = CliRunner().invoke(app, ["select", *tables, *words, "--out", outs[0]])
    assert "want an --out for each of 3 tables" in found.output
