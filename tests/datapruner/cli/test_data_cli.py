"""The command line: the two ways through it, what it prints, and its errors."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from datapruner.cli import app
from datapruner.scoring import progress
from datapruner.scoring.manifest import read_manifest, save_manifest
from tests.datapruner.conftest import make_rows, write_jsonl

ROOT = Path(__file__).resolve().parents[3]


def run(*arguments: object) -> Result:
    # wide enough that nothing is wrapped
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_step_by_step_and_at_once(corpus: Path, tmp_path: Path) -> None:
    fields = ["--uid", "id", "--group", "source", "--chunk-rows", "20"]
    scored = run("score", corpus, "--scorer", "length", "--scorer", "r=random:seed=1", "--out", tmp_path / "t", *fields)
    assert scored.exit_code == 0, scored.output
    assert "103 rows of corpus.jsonl" in scored.output
    assert "length:unit=characters,tokenizer=None; higher is longer" in scored.output
    rule = ["--selector", "middle", "--keep-ratio", "0.3", "--per", "source"]
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    filtered = run("select", tmp_path / "t", "--selector", "threshold:minimum=0.2", "--by", "r", "--out", one)
    assert filtered.exit_code == 0, filtered.output
    selected = run("select", tmp_path / "t", *rule, "--by", "length", "--out", two)
    assert selected.exit_code == 0, selected.output
    assert "31 │ 30.1%" in selected.output
    within = run(
        "select", tmp_path / "t", *rule, "--by", "length", "--within", one, "--out", tmp_path / "three.parquet"
    )
    assert "r below the minimum 0.2" in within.output
    written = run("write", corpus, "--selection", two, "--out", tmp_path / "pruned")
    assert written.exit_code == 0, written.output
    at_once = run("prune", corpus, "--scorer", "length", "--out", tmp_path / "once", *rule, *fields)
    assert at_once.exit_code == 0, at_once.output
    assert (tmp_path / "once" / "kept.jsonl").read_bytes() == (tmp_path / "pruned" / "kept.jsonl").read_bytes()
    for path, expected in ((tmp_path / "t", "r: random:seed=1"), (two, "30.1%"), (tmp_path / "once", "30.1%")):
        assert expected in run("inspect", path).output


def test_lists_methods_and_helps() -> None:
    listed = run("methods").output
    for expected in (
        "near_duplicate",
        "perplexity",
        "hashed_ngrams",
        "threshold",
        "window=1024",
        "n rows around the median score",
    ):
        assert expected in listed
    helped = run("--help").output
    for command in ("score", "select", "write", "prune", "run", "report", "inspect", "methods"):
        assert command in helped
        assert run(command, "--help").exit_code == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"content": '{"text": "a"}\n{"text": \n'}, "c.jsonl, line 2: want a JSON object"),
        ({"content": '{"text": "a"}\n{"body": "b"}\n'}, "c.jsonl, line 2: want a field 'text', got body"),
        ({"content": '{"text": "a", "id": 1}\n' * 2, "uid": "id"}, "line 2: uid '1' was already used in"),
        ({"content": ""}, "want at least one row, got none"),
        ({"ratio": "0"}, "want a number in (0, 1], got 0"),
        ({"ratio": "1.5"}, "want a number in (0, 1], got 1.5"),
        ({"scorer": "length:unit=furlongs"}, "length.unit wants"),
        ({"scorer": "size"}, "datapruner.scorers has no 'size'"),
        ({"input": "missing.jsonl"}, "missing.jsonl: no such file"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, change: dict[str, str], message: str) -> None:
    (tmp_path / "c.jsonl").write_text(change.get("content", '{"text": "a"}\n'))
    options = ["--scorer", change.get("scorer", "length"), "--keep-ratio", change.get("ratio", "0.5")]
    uid = ["--uid", change["uid"]] if "uid" in change else []
    result = run("prune", tmp_path / change.get("input", "c.jsonl"), *options, *uid, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["c.jsonl"]


def test_refuses_a_table_of_another_corpus(tmp_path: Path) -> None:
    mine, other = (write_jsonl(tmp_path / f"{seed}.jsonl", make_rows(9, seed)) for seed in (1, 2))
    assert run("score", mine, "--scorer", "length", "--out", tmp_path / "t").exit_code == 0
    options = ["--scorer", "length", "--keep-ratio", "0.5", "--scores", tmp_path / "t", "--out", tmp_path / "out"]
    for result in (
        run("score", other, "--scorer", "length", "--out", tmp_path / "t"),
        run("prune", other, *options),
    ):
        assert result.exit_code == 2
        assert "is the score table of another input: 2.jsonl has" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_example_runs() -> None:
    example = str(ROOT / "examples" / "prune_corpus.py")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    env = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    assert "kept" in done.stdout


def test_progress_counts_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress.advance(3, 10)
    with progress.display() as shown:
        assert shown is None
        bar = progress.Bar(shown, "scoring", 10)
        bar.skip(4)
        with bar.working(8):
            progress.advance(1.5, 7)
            progress.advance(0.5, 2)
            assert (bar.done, bar.tokens) == (6, 9)
        assert bar.done == 8
    assert capsys.readouterr().err == ""


def test_dropped_rows_read_back(corpus: Path, tmp_path: Path) -> None:
    run("prune", corpus, "--scorer", "length", "--selector", "top", "--keep-ratio", "0.5", "--out", tmp_path / "out")
    lines = (tmp_path / "out" / "dropped.jsonl").read_text().splitlines()
    notes = [json.loads(line)["prunekit"] for line in lines]
    assert len(notes) == 51
    assert all(note["reason"].startswith("length ") for note in notes)


def test_prune_dry_run_and_recipe(corpus: Path, tmp_path: Path) -> None:
    rule = ["--scorer", "length", "--scorer", "r=random", "--by", "length=0.7,r=-0.3", "--selector", "top"]
    rule += ["--keep-rows", "60", "--per", "source", "--quota", "equal", "--uid", "id"]
    dry = run("prune", corpus, *rule, "--out", tmp_path / "one", "--dry-run")
    assert dry.exit_code == 0, dry.output
    for expected in ("would read 103 rows of corpus.jsonl", "would be made", "under 1 s", "would keep about 60 rows"):
        assert expected in dry.output
    assert "dry run: nothing was written" in dry.output
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]
    pruned = run("prune", corpus, *rule, "--out", tmp_path / "one")
    assert pruned.exit_code == 0, pruned.output
    again = run("run", tmp_path / "one" / "recipe.yaml", "--out", tmp_path / "two")
    assert again.exit_code == 0, again.output
    assert again.output.splitlines()[-1] == pruned.output.splitlines()[-1]
    assert (tmp_path / "one" / "kept.jsonl").read_bytes() == (tmp_path / "two" / "kept.jsonl").read_bytes()
    refused = run("run", tmp_path / "one" / "recipe.yaml", "--out", tmp_path / "two")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert "is not empty" in refused.stderr
    replaced = run("run", tmp_path / "one" / "recipe.yaml", "--out", tmp_path / "two", "--overwrite")
    assert replaced.exit_code == 0, replaced.output
    dry = run("run", tmp_path / "one" / "recipe.yaml", "--out", tmp_path / "two", "--dry-run")
    assert "is there" in dry.output
    assert "would keep 60 rows" in dry.output


def test_counts_of_groups_and_an_index(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rule = ["--scorer", "random", "--selector", "top", "--per", "source", "--counts", "web=7,book=3", "--uid", "id"]
    pruned = run("prune", corpus, *rule, "--out", out, "--index")
    assert pruned.exit_code == 0, pruned.output
    kept = [json.loads(line) for line in (out / "kept.jsonl").read_text().splitlines()]
    assert Counter(row["source"] for row in kept) == {"web": 7, "book": 3}
    assert (out / "kept_uids.txt").read_text().splitlines() == [row["id"] for row in kept]
    rows = np.load(out / "kept_rows.npy").tolist()
    every = corpus.read_text().splitlines()
    assert [json.loads(every[row]) for row in rows] == kept
    again = run("run", out / "recipe.yaml", "--out", tmp_path / "two")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "two" / "kept.jsonl").read_bytes() == (out / "kept.jsonl").read_bytes()
    refused = run("prune", corpus, *rule[:-3], "web=1000", "--uid", "id", "--out", tmp_path / "three")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert "1000" in refused.stderr


def test_inspect_tells_coverage_and_lineage(corpus: Path, tmp_path: Path) -> None:
    fields = ["--uid", "id", "--group", "source", "--chunk-rows", "20"]
    scorers = ["--scorer", "length", "--scorer", "near_duplicate:ngram=2"]
    assert run("score", corpus, *scorers, "--out", tmp_path / "t", *fields).exit_code == 0
    digest = hashlib.blake2b(corpus.read_bytes(), digest_size=16).hexdigest()
    shown = run("inspect", tmp_path / "t").output
    assert f"corpus.jsonl: {corpus.stat().st_size:,} bytes, BLAKE2b {digest}" in shown
    assert "fields: group source, text text, tokens estimate: utf-8 bytes / 4, rounded up, uid id" in shown
    assert "length: 103 of 103 rows; version 1, prunekit " in shown
    # a run that was stopped after two of six parts
    manifest = read_manifest(tmp_path / "t" / "manifest.json")
    manifest["columns"]["near_duplicate"]["complete"] = False
    save_manifest(tmp_path / "t", manifest)
    for part in sorted((tmp_path / "t" / "near_duplicate").glob("*.parquet"))[2:]:
        part.unlink()
    shown = run("inspect", tmp_path / "t").output
    assert "near_duplicate: 40 of 103 rows" in shown
    assert "not finished: run the same command again" in shown


def test_score_dry_run(corpus: Path, tmp_path: Path) -> None:
    dry = run("score", corpus, "--scorer", "length", "--out", tmp_path / "t", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "would keep" not in dry.output
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]


def test_report_of_a_table_and_of_an_output(corpus: Path, tmp_path: Path) -> None:
    options = ["--scorer", "length", "--selector", "top", "--keep-ratio", "0.2", "--uid", "id"]
    pruned = run("prune", corpus, *options, "--out", tmp_path / "out")
    assert "warning: top keeps 20.4% of the rows by length alone" in pruned.output
    selection = tmp_path / "out" / "selection.parquet"
    page = tmp_path / "deep" / "page.html"
    made = run("report", tmp_path / "out.scores", "--selection", selection, "--source", corpus, "--out", page)
    assert made.exit_code == 0, made.output
    assert page.read_bytes() == (tmp_path / "out" / "report.html").read_bytes()
    bare = run("report", tmp_path / "out", "--out", tmp_path / "bare.html")
    assert bare.exit_code == 0, bare.output
    assert "Texts are left out" in (tmp_path / "bare.html").read_text()
    other = write_jsonl(tmp_path / "other.jsonl", make_rows(5))
    for arguments, message in (
        ([tmp_path / "out.scores"], "want --selection beside a score table"),
        ([tmp_path], "want a folder that `score`, `write` or `prune` wrote"),
        ([tmp_path / "out", "--source", other], "is of another input"),
        ([tmp_path / "out", "--source", tmp_path / "nothing.jsonl"], "no such file"),
    ):
        refused = run("report", *arguments, "--out", tmp_path / "no.html")
        assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
        assert message in refused.stderr
        assert not (tmp_path / "no.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--keep-ratio", "0.5", "--keep-rows", "3"],
            "want one of keep_ratio, keep_rows, keep_tokens, keep_token_ratio",
        ),
        (["--keep-rows", "0"], "want rows as a whole number of at least 1, got 0"),
        ([], "wants a keep_ratio"),
        (["--keep-ratio", "0.5", "--by", "length=much"], "want name=number,... got 'length=much'"),
        (["--keep-ratio", "0.5", "--by", "lengths"], "want by=<column>, one of length, got 'lengths'"),
        (["--keep-ratio", "0.5", "--quota", "equal"], "want per=<group field> beside quota"),
        (["--keep-ratio", "0.5", "--per", "source", "--quota", "some"], 'want the quota "kept", "equal" or shares'),
        (["--keep-ratio", "0.5", "--engine", "steam"], "steam"),
    ],
)
def test_options_that_do_not_fit_are_one_line(options: list[str], message: str, corpus: Path, tmp_path: Path) -> None:
    refused = run("prune", corpus, "--scorer", "length", "--out", tmp_path / "out", *options)
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert message in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]
