"""Dry runs: they change nothing, and say what is there, what would be made, and about how many rows are kept."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from datapruner import Batch, Budget, Output, Per, Recipe, Rule, Scorer, Source, run, score
from datapruner.recipe import dry_run
from datapruner.recipe.dry_run import plan
from datapruner.recipe.steps import with_named_columns
from datapruner.scoring.scorer import NOTHING, State
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.folders import Counting, folder_bytes


def recipe_of(corpus: Path, *steps: Rule, scorers: tuple[str, ...] = ("length", "near_duplicate")) -> Recipe:
    out = Output(corpus.parent / "out", scores=corpus.parent / "t")
    return with_named_columns(Recipe(Source(corpus, uid="id", group="source", chunk_rows=20), scorers, steps, out))


def listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in (folder, *folder.rglob("*")))


def test_it_changes_nothing_and_knows_what_is_there(corpus: Path, tmp_path: Path) -> None:
    recipe = recipe_of(corpus, Rule("middle", "length", 0.3))
    before = listing(tmp_path), folder_bytes(tmp_path)
    first = plan(recipe)
    assert (listing(tmp_path), folder_bytes(tmp_path)) == before
    assert (first.files, first.rows, first.rows_exact) == ((("corpus.jsonl", corpus.stat().st_size),), 103, True)
    assert [(c.name, c.there, c.measured_on) for c in first.columns] == [
        ("length", False, 20),
        ("near_duplicate", False, 20),
    ]
    assert all(c.seconds is not None and 0 <= c.seconds < 60 for c in first.columns)
    assert first.table == tmp_path / "t"
    assert 0 < first.table_bytes < 1_000_000
    assert first.kept == 31
    score(recipe.source, "length", tmp_path / "t")
    before = listing(tmp_path), folder_bytes(tmp_path)
    assert [c.there for c in plan(recipe).columns] == [True, False]
    assert (listing(tmp_path), folder_bytes(tmp_path)) == before
    selection = run(recipe)
    done = plan(recipe)
    assert [c.there for c in done.columns] == [True, True]
    assert (done.kept, done.kept_exact, done.table_bytes) == (selection.n_kept, True, 0)


def test_what_is_there_of_another_corpus_does_not_count(corpus: Path, tmp_path: Path) -> None:
    recipe = recipe_of(corpus, Rule("middle", "length", 0.3))
    score(recipe.source, "length", tmp_path / "t")
    write_jsonl(corpus, make_rows(50))
    planned = plan(recipe)
    assert planned.rows == 50
    assert not any(column.there for column in planned.columns)


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([Rule("top", "length", 0.5), Rule("top", "length", 0.5)], 26),
        ([Rule("top", "length", Budget(rows=40))], 40),
        ([Rule("top", "length", Budget(token_ratio=0.5))], 52),
        ([Rule("top", "length", None, Per("source", counts={"web": 5, "book": 2}))], 7),
        # nothing is below -1
        ([Rule("threshold:maximum=0.8", "near_duplicate"), Rule("threshold:maximum=-1", "near_duplicate")], 0),
        # all of the sample's rows are longer than 0 characters
        ([Rule("threshold:minimum=0", "length"), Rule("top", "length", 0.1)], 11),
    ],
)
def test_how_many_rows_are_kept(steps: list[Rule], kept: int, corpus: Path) -> None:
    assert plan(recipe_of(corpus, *steps)).kept == kept


def test_tokens_become_rows_by_the_sample(corpus: Path) -> None:
    kept = plan(recipe_of(corpus, Rule("top", "length", Budget(tokens=1000)))).kept
    # rows of the corpus have 3 to 40 words of 5 to 7 letters: 30 to 45 tokens on average
    assert kept is not None
    assert 15 < kept < 40


@dataclass(frozen=True)
class Choosy(Scorer):
    """Wants more rows than a sample has."""

    at_least: int = 1

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if len(batch) < self.at_least:
            raise ValueError(f"want {self.at_least} rows\nat once")
        return np.zeros(len(batch), dtype=np.float32)


def test_a_scorer_that_cannot_be_measured_says_why(corpus: Path) -> None:
    recipe = Recipe(Source(corpus), (Choosy(50), Counting()), (Rule("random", keep=0.5),))
    choosy, other = plan(recipe).columns
    assert (choosy.measured_on, choosy.problem) == (103, None)
    assert choosy.seconds is not None
    assert other.problem is None
    choosy, other = plan(dataclasses.replace(recipe, scorers=(Choosy(500), Counting()))).columns
    assert (choosy.seconds, choosy.problem) == (None, "want 500 rows at once")
    assert other.seconds is not None


def test_it_refuses_what_the_run_would(corpus: Path) -> None:
    for scorer, message in (
        ("prototypicality", "line 1: want a field 'embedding'"),
        ("perplexity:model=/nowhere", "want the folder or hub id of a checkpoint"),
        ("near_duplicate:bands=7", "wants permutations that its bands divide"),
    ):
        with pytest.raises(ValueError, match=message):
            plan(recipe_of(corpus, Rule("random", keep=0.5), scorers=(scorer,)))


def test_counting_gives_up_in_time(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "COUNTING", 0.0)
    planned = plan(recipe_of(corpus, Rule("middle", "length", 0.3)))
    assert not planned.rows_exact
    assert not planned.kept_exact
    # estimated from the bytes of the first 20 rows
    assert 60 < planned.rows < 200


def test_scorers_see_the_sample_alone(tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", make_rows(3000))
    source = Source(corpus, uid="id", chunk_rows=2000)
    out = Output(tmp_path / "out")
    # fails where it is shown row 1,024
    planned = plan(Recipe(source, (Counting(fails_at=1024),), (Rule("top", "counting", 0.5),), out))
    assert planned.columns[0].problem is None
    assert planned.rows == 3000
