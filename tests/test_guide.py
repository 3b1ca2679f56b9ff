"""docs/filtering_a_corpus.md: every snippet runs, in the order of the page, on tiny files of the names it speaks of."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from datapruner.cli import app
from tests.guide_data import make_files

PAGE = Path(__file__).resolve().parent.parent / "docs" / "filtering_a_corpus.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = BLOCK.findall(PAGE.read_text("utf-8"))


def test_every_block_is_of_a_kind_that_runs() -> None:
    assert {kind for kind, _ in BLOCKS} == {"yaml", "bash", "python", "text"}
    recipes = [code.splitlines()[0].removeprefix("# ") for kind, code in BLOCKS if kind == "yaml"]
    commands = " ".join(code for kind, code in BLOCKS if kind == "bash")
    assert all(f"datapruner run {recipe}" in commands for recipe in recipes)


def test_the_guide_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    printed = ""
    for kind, code in BLOCKS:
        if kind == "yaml":
            (tmp_path / code.splitlines()[0].removeprefix("# ")).write_text(code, "utf-8")
        elif kind == "bash":
            for command in code.replace("\\\n", " ").splitlines():
                run(command)
        elif kind == "python":
            shown = io.StringIO()
            with contextlib.redirect_stdout(shown):
                exec(compile(code, PAGE.name, "exec"), names)
            printed = shown.getvalue()
        else:
            assert code.strip() == printed.strip()


def run(command: str) -> None:
    """One command of the page in this process."""
    program, *arguments = shlex.split(command)
    assert program == "datapruner"
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0, f"{command}\n{done.output}"
