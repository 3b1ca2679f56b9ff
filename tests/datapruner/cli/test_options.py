"""One list of words: those of a corpus, a step and an output are options; help is shown as it was written."""

from __future__ import annotations

import dataclasses

import pytest
from typer.testing import CliRunner

from datapruner import Output, Source
from datapruner.cli import app
from datapruner.cli.options import OUTPUT_OPTIONS, SOURCE_OPTIONS, STEP_OPTIONS
from datapruner.recipe.rule_options import BUDGET_OPTIONS, WORDS


def shown(command: str) -> str:
    found = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300", "NO_COLOR": "1"})
    assert found.exit_code == 0
    return found.output


def test_every_word_is_an_option() -> None:
    for kind, options in ((Source, SOURCE_OPTIONS), (Output, OUTPUT_OPTIONS)):
        assert {field.name for field in dataclasses.fields(kind)} - {"path"} == {*options}  # type: ignore[arg-type]
    assert {*STEP_OPTIONS} == {*WORDS} > {*BUDGET_OPTIONS}


@pytest.mark.parametrize("command", ["score", "select", "write", "prune"])
def test_help_says_what_was_written(command: str) -> None:
    text = shown(command)
    parts = {"score": [SOURCE_OPTIONS], "select": [STEP_OPTIONS], "write": [OUTPUT_OPTIONS],
             "prune": [SOURCE_OPTIONS, STEP_OPTIONS, OUTPUT_OPTIONS]}[command]  # fmt: skip
    for options in parts:
        for name, option in options.items():
            assert option.says in text, name
            assert (option.flag or f"--{name.replace('_', '-')}") in text
    # rich takes brackets for mark-up
    assert ("[name=]method:field=value" in text) == (command in ("score", "prune"))
