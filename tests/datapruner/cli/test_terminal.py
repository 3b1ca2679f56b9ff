"""What comes from elsewhere is shown in a terminal and never obeyed; there is not more of it than one can read."""

from __future__ import annotations

import dataclasses
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from datapruner import ScoreTable, select
from datapruner.cli import app, console
from datapruner.scoring import progress
from tests.datapruner.conftest import make_rows, write_jsonl

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r\n[bold red]loud[/] [link=file:///etc]x[/link]"
STEERS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def check(result: Result, exit_code: int = 0) -> None:
    assert result.exit_code == exit_code, result.output
    assert not STEERS.search(result.output)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    rows = [{**row, "g": f"{n % 2}{ESCAPES}"} for n, row in enumerate(make_rows(40))]
    return write_jsonl(tmp_path / "c\x1b[31m[bold].jsonl", rows)


def test_nothing_steers_the_terminal(hostile: Path, tmp_path: Path) -> None:
    table, selection = tmp_path / "t\x1b[1m", tmp_path / "s\x1b.parquet"
    scored = run("score", hostile, "--scorer", "length", "--group", "g", "--out", table)
    check(scored)
    # mark-up is text
    assert "[bold].jsonl" in scored.output
    rule = ["--selector", "top", "--keep-ratio", "0.5", "--per", "g"]
    check(run("select", table, *rule, "--out", selection))
    check(run("inspect", table))
    check(run("inspect", selection))
    check(run("write", hostile, "--selection", selection, "--out", tmp_path / "out\x1b"))
    check(run("prune", hostile, "--scorer", "length", *rule, "--group", "g", "--out", tmp_path / "two", "--dry-run"))
    check(run("report", tmp_path / "out\x1b", "--out", tmp_path / "p\x1b.html"))
    for broken in ('{"text": "a", "g": 1}\n', '{"text": "\\u001b[31m", "id": "a\\u001b"}\n' * 2, "\x1b[31m\n"):
        hostile.write_text(broken)
        failed = run("score", hostile, "--scorer", "length", "--uid", "id", "--out", tmp_path / "three")
        check(failed, 2)
        assert len(failed.stderr.splitlines()) == 1


def test_words_of_a_downloaded_selection_are_shown(table: ScoreTable, capsys: pytest.CaptureFixture[str]) -> None:
    made = select(table, "top", "length", 0.5)
    steps = tuple({**step, "warnings": [f"{n}{ESCAPES}" for n in range(900)]} for step in made.steps)
    many = tuple(f"{n}{ESCAPES}" for n in range(5000))
    codes = np.where(made.codes < 0, -1, np.arange(len(made.codes)))
    console.show_selection(dataclasses.replace(made, steps=steps, reasons=many, codes=codes), Path(f"a{ESCAPES}"))
    table.manifest["columns"] = {f"length{n}{ESCAPES}": {**table.manifest["columns"]["length"], "spec": ESCAPES,
                                 "direction": ESCAPES, "version": ESCAPES, "identity": {ESCAPES: ESCAPES},
                                 "complete": False} for n in range(900)}  # fmt: skip
    table.manifest["input"]["files"] = [{"name": ESCAPES, "bytes": ESCAPES, "blake2b": ESCAPES}] * 900  # type: ignore[typeddict-item]
    table.manifest["input"]["fields"][ESCAPES] = ESCAPES
    console.show_table(table)
    console.show_lineage(table)
    shown = capsys.readouterr().out
    assert not STEERS.search(shown)
    assert "[bold red]loud[/]" in shown.replace("\n", " ")
    assert len(shown.splitlines()) < 2000
    for expected in ("4,960 other reasons", "and 860 more warnings", "and 860 more columns", "and 880 more files"):
        assert expected in shown


def test_a_method_that_fails_on_import_is_named_and_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("broken", "no_such_package_at_all:Broken", "datapruner.scorers"),
        EntryPoint("top", "json:JSONDecoder", "datapruner.selectors"),
    ]
    monkeypatch.setattr(
        "prunekernels.registry.entry_points", lambda group: [point for point in points if point.group == group]
    )
    listed = run("methods")
    check(listed)
    assert "left out: broken: " in listed.output
    assert "fails on import: ModuleNotFoundError" in listed.output
    assert "near_duplicate" in listed.output
    assert "datapruner.selectors has a 'top' of its own, which stays" in listed.output


def test_an_error_is_one_line_whatever_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_error(f"c.jsonl: {ESCAPES}")
    shown = capsys.readouterr().err
    assert not STEERS.search(shown)
    assert len(shown.splitlines()) == 1


def test_progress_says_names_and_obeys_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("datapruner.scoring.progress.EVERY", 0.0)
    bar = progress.Bar(None, ESCAPES, 10)
    bar.begin()
    bar.move(5, 0)
    shown = capsys.readouterr().err
    assert not STEERS.search(shown)
    assert "owned" in shown
