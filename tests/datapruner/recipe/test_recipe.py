"""Recipes: read strictly, written back, and the same rows from the same recipe wherever it runs."""

from __future__ import annotations

import shutil
from hashlib import blake2b
from pathlib import Path

import pytest
import yaml

from datapruner import Budget, Output, Per, ScoreTable, Source, prune, run, score, select, write
from datapruner.recipe.recipe import Expected, Recipe, Rule
from datapruner.recipe.recipe_yaml import dump, load
from datapruner.selection.kept_hash import kept_hash
from tests.datapruner.conftest import write_jsonl
from tests.datapruner.folders import folder_bytes

FULL = """
source: {path: corpus.jsonl, uid: id, group: source, chunk_rows: 20}
scorers: [near_duplicate, "r=random:seed=3", length]
scores: scores
select:
- {selector: "threshold:maximum=0.9", by: near_duplicate}
- {selector: top, by: {length: 0.7, r: -0.3}, keep_tokens: 700, per: source, quota: {web: 3, book: 1, code: 1}}
out: {path: pruned, dropped: false}
"""


def test_reads_every_word(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(FULL + "expect: {kept: 3, hash: abc}\nengine: local\n")
    assert load(tmp_path / "r.yaml") == Recipe(
        source=Source(str(tmp_path / "corpus.jsonl"), uid="id", group="source", chunk_rows=20),
        scorers=("near_duplicate", "r=random:seed=3", "length"),
        select=(
            Rule("threshold:maximum=0.9", "near_duplicate"),
            Rule(
                "top", {"length": 0.7, "r": -0.3}, Budget(tokens=700), Per("source", {"web": 3, "book": 1, "code": 1})
            ),
        ),
        out=Output(str(tmp_path / "pruned"), dropped=False, scores=str(tmp_path / "scores")),
        expect=Expected(3, "abc"),
    )
    (tmp_path / "short.yaml").write_text(
        "source: [a.jsonl, s3://b/c.jsonl]\nscorers: length\nselect: {keep_ratio: 1}\nout: o\n"
    )
    short = load(tmp_path / "short.yaml")
    assert short.source == Source([str(tmp_path / "a.jsonl"), "s3://b/c.jsonl"])
    assert (short.scorers, short.select, short.expect) == (("length",), (Rule(keep=1),), Expected())
    assert short.out == Output(str(tmp_path / "o"))


@pytest.mark.parametrize(
    "rule",
    [
        Rule("top:seed=1", "a", 0.5),
        Rule("middle", {"a": 1.0, "b": -2.5}, Budget(rows=7), "g"),
        Rule("top", None, Budget(tokens=100), Per("g", "equal")),
        Rule("top", "a", Budget(token_ratio=0.25), Per("g", {"x": 0.5, "y": 1.0})),
        Rule("top", "a", None, Per("g", counts={"x": 5, "y": 0})),
        Rule("threshold:maximum=0.9"),
    ],
)
def test_what_is_written_reads_back(rule: Rule, tmp_path: Path) -> None:
    source = Source(["/a/x.jsonl", "/a/y.jsonl"], text="body", uid="id", label="l", tokens="gpt2", chunk_bytes=1000)
    out = Output("/o/p", dropped=False, scores="/o/s", report=False)
    recipe = Recipe(source, ("length", "m=random:seed=4"), (rule,), out, "local:workers=2", Expected(5, "00ff"))
    (tmp_path / "r.yaml").write_text(dump(recipe))
    assert load(tmp_path / "r.yaml") == recipe


def test_the_same_rows_on_a_copy_in_another_folder(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(FULL)
    selection = run(load(tmp_path / "r.yaml"))
    assert 0 < selection.n_kept < 103
    written = yaml.safe_load((tmp_path / "pruned" / "recipe.yaml").read_text())
    assert written["expect"] == {"kept": selection.n_kept, "hash": kept_hash(selection)}
    assert written["source"]["path"] == "../corpus.jsonl"
    assert str(tmp_path) not in (tmp_path / "pruned" / "recipe.yaml").read_text()
    # the folder is carried elsewhere, without its scores
    elsewhere = tmp_path / "else" / "where"
    elsewhere.mkdir(parents=True)
    shutil.copy(corpus, elsewhere)
    shutil.copytree(tmp_path / "pruned", elsewhere / "pruned")
    recipe = load(elsewhere / "pruned" / "recipe.yaml")
    again = run(Recipe(recipe.source, recipe.scorers, recipe.select, Output(elsewhere / "again"), expect=recipe.expect))
    assert again.kept_uids == selection.kept_uids
    assert (elsewhere / "again" / "kept.jsonl").read_bytes() == (tmp_path / "pruned" / "kept.jsonl").read_bytes()
    assert (elsewhere / "again" / "recipe.yaml").read_bytes() == (tmp_path / "pruned" / "recipe.yaml").read_bytes()


def test_other_rows_are_refused(corpus: Path, tmp_path: Path) -> None:
    prune(Source(corpus, uid="id"), "length", "top", 0.5, tmp_path / "one")
    recipe = load(tmp_path / "one" / "recipe.yaml")
    corpus.write_text("".join(reversed(corpus.read_text().splitlines(keepends=True))))
    # the same rows in another order are another kept set: their order is part of it
    with pytest.raises(ValueError, match="expects kept rows with the hash .*, got "):
        run(Recipe(recipe.source, recipe.scorers, recipe.select, Output(tmp_path / "two"), expect=recipe.expect))
    assert not (tmp_path / "two").exists()
    lines = corpus.read_text().splitlines(keepends=True)
    corpus.write_text("".join(lines[:51]))
    with pytest.raises(ValueError, match="expects 52 kept rows, got 26"):
        run(Recipe(recipe.source, recipe.scorers, recipe.select, Output(tmp_path / "three"), expect=recipe.expect))
    assert not (tmp_path / "three").exists()


def test_the_hash_is_that_of_the_uids(table: ScoreTable) -> None:
    half, other = select(table, "top", "length", 0.5), select(table, "bottom", "length", 0.5)
    assert kept_hash(half) == kept_hash(select(table, "top:seed=0", "length", 0.5))
    assert len({kept_hash(half), kept_hash(other), kept_hash(select(table, "top", "length", 0.49))}) == 3
    assert len(kept_hash(half)) == 32
    by_hand = blake2b(digest_size=16)
    for uid in half.kept_uids:
        by_hand.update(len(uid).to_bytes(8, "little") + uid.encode())
    assert kept_hash(half) == by_hand.hexdigest()


def test_the_hash_of_uids_of_any_length(tmp_path: Path) -> None:
    rows = [{"id": uid, "text": "t" * n} for n, uid in enumerate(["ü" * 300, "a", "日本", "", "x y", "🦆" * 7], 1)]
    table = score(Source(write_jsonl(tmp_path / "c.jsonl", rows), uid="id", chunk_rows=2), "length", tmp_path / "t")
    for ratio in (0.3, 0.5, 1):
        selection = select(table, "top", "length", ratio)
        by_hand = blake2b(digest_size=16)
        for uid in selection.kept_uids:
            by_hand.update(len(uid.encode()).to_bytes(8, "little") + uid.encode())
        assert kept_hash(selection) == by_hand.hexdigest()


def test_columns_that_others_read_are_in_the_recipe(corpus: Path, tmp_path: Path) -> None:
    scorers = ["grams=hashed_ngrams", "prototypicality:features=grams,k=4", "random", "length"]
    table = score(Source(corpus, uid="id"), scorers, tmp_path / "t")
    for name, rule in {
        "p": select(table, "top", "prototypicality", 0.5),
        # the selector reads a column that reads another
        "d": select(table, "density_based", "random", 0.5),
        "f": select(table, "farthest_point:features=grams", keep_ratio=0.5),
    }.items():
        write(Source(corpus), rule, Output(tmp_path / name, scores=tmp_path / "t"))
        recipe = load(tmp_path / name / "recipe.yaml")
        assert any(text.startswith("grams=hashed_ngrams") for text in recipe.scorers)
        assert not any(text.startswith("length") for text in recipe.scorers)  # type: ignore[union-attr]
        again = Output(tmp_path / f"{name}2")
        assert run(Recipe(recipe.source, recipe.scorers, recipe.select, again)).kept_uids == rule.kept_uids


GOOD = {"source": "corpus.jsonl", "scorers": ["length"], "select": [{"selector": "top", "keep_ratio": 0.5}], "out": "o"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sauce": 1}, "the recipe: unknown key 'sauce'; known: source, scorers"),
        ({"source": {"path": "corpus.jsonl", "uidd": "id"}}, "source: unknown key 'uidd'; known: path, text, uid"),
        ({"source": {"path": "corpus.jsonl", "chunk_rows": "20"}}, "source.chunk_rows: want int, got '20'"),
        ({"source": {"path": "corpus.jsonl", "chunk_rows": True}}, "source.chunk_rows: want int, got True"),
        ({"source": {"path": "corpus.jsonl", "uid": 5}}, "source.uid: want str or nothing, got 5"),
        ({"source": {"uid": "id"}}, "source.path: want text, got None"),
        ({"source": 5}, "source: want a mapping with path, text"),
        ({"source": None}, "source: want a mapping"),
        ({"scorers": [5]}, r"scorers\[0\]: want text, got 5"),
        ({"scorers": {"length": {}}}, "scorers: want a list of texts"),
        ({"select": [{"selector": "top", "keep": 0.5}]}, r"select\[0\]: unknown key 'keep'; known: selector, by"),
        (
            {"select": [{"keep_ratio": 0.5, "keep_rows": 3}]},
            r"select\[0\]: want one of keep_ratio, .* got keep_ratio, keep_rows",
        ),
        ({"select": [{"keep_ratio": "half"}]}, r"select\[0\]: keep_ratio: want a number, got 'half'"),
        ({"select": [{"keep_rows": 2.5}]}, r"select\[0\]: keep_rows: want a whole number, got 2.5"),
        ({"select": [{"keep_rows": 0}]}, r"select\[0\]: want rows as a whole number of at least 1, got 0"),
        ({"select": [{"by": {"length": "x"}, "keep_rows": 1}]}, "by: want a number for each name, got 'length': 'x'"),
        ({"select": [{"by": {}, "keep_rows": 1}]}, "by: want a name or a mapping"),
        ({"select": [{"keep_rows": 1, "quota": "equal"}]}, "want per=<group field> beside quota"),
        ({"select": [{"keep_rows": 1, "per": "source", "quota": "some"}]}, 'want the quota "kept", "equal"'),
        ({"select": []}, "want at least one step of selecting"),
        ({"select": [{"keep_ratio": 0.5, "by": "lengths"}]}, "want by=<column>, one of length, got 'lengths'"),
        ({"select": [{"keep_ratio": 0.5, "per": "nowhere"}]}, "want a field 'nowhere'"),
        (
            {"select": [{"where": "length => 3"}]},
            r"select\[0\]: want a condition as in \"int_score >= 3\", got 'length",
        ),
        ({"select": [{"where": "length >= 3", "by": "length"}]}, r"unknown key 'by'; known: where, scorers"),
        ({"select": [{"scorers": [5]}]}, r"scorers: want a list of texts"),
        ({"select": [{"keep_rows": 3, "counted_by": "t"}]}, "want counted_by='t' beside a number of tokens, got rows"),
        ({"scorers": ["length", "random"]}, "want by=<column>, one of length, random"),
        ({"out": {"path": "o", "report": "yes"}}, "out.report: want bool, got 'yes'"),
        ({"out": {"path": "o", "overwrite": True}}, "out.overwrite: a recipe replaces nothing"),
        ({"out": {"path": "o", "overwrite": False}}, "out.overwrite: a recipe replaces nothing"),
        ({"out": {"dropped": False}}, "out: want a key 'path'"),
        ({"expect": {"kept": 5, "sha": ""}}, "expect: unknown key 'sha'; known: kept, hash"),
        ({"engine": 5}, "engine: want text, got 5"),
    ],
)
def test_refuses_with_the_place(change: dict[str, object], message: str, corpus: Path, tmp_path: Path) -> None:
    before = folder_bytes(tmp_path)
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **change}))
    with pytest.raises(ValueError, match=message):
        run(load(file))
    file.unlink()
    assert folder_bytes(tmp_path) == before


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "!!python/object/apply:os.system ['true']", "a: 1\na: \x00"])
def test_refuses_what_is_no_recipe(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"r\.yaml:") as refused:
        load(tmp_path / "r.yaml")
    assert "\n" not in str(refused.value)


def test_without_an_output_nothing_runs(corpus: Path) -> None:
    with pytest.raises(ValueError, match="want an output folder"):
        run(Recipe(Source(corpus), ("length",), (Rule("top", keep=0.5),)))


def test_rows_in_memory_have_no_recipe(tmp_path: Path) -> None:
    prune(Source({"text": ["a", "bb", "ccc"]}), "length", "top", 0.5, tmp_path / "out")
    assert not (tmp_path / "out" / "recipe.yaml").exists()
    assert (tmp_path / "out" / "report.html").exists()
