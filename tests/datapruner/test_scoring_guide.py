"""Every snippet of the guide runs, in its order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

from datapruner.cli import app
from datapruner.output import pruning
from datapruner.recipe import recipe_yaml
from tests.datapruner.conftest import make_rows, write_jsonl

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "scoring_and_selecting.md"


def test_the_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{**row, "int_score": n % 6, "meta": {"site": f"s{n % 3}"}} for n, row in enumerate(make_rows(90))]
    write_jsonl(tmp_path / "corpus.jsonl", rows[:60])
    write_jsonl(tmp_path / "more.jsonl", rows[60:])
    fsspec.filesystem("memory").store.clear()
    found: dict[str, object] = {}
    kinds = []
    for kind, text in re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        kinds.append(kind)
        if kind == "python":
            exec(compile(text, GUIDE.name, "exec"), found)
        elif kind == "bash":
            done = CliRunner().invoke(app, shlex.split(text)[1:])
            assert done.exit_code == 0, done.output
        else:
            Path("recipe.yaml").write_text(text, "utf-8")
            pruning.run(recipe_yaml.load("recipe.yaml"))
    assert {*kinds} == {"python", "bash", "yaml"}
    exactly, good, parts = found["exactly"], found["good"], found["parts"]
    assert exactly.n_kept == 20  # type: ignore[attr-defined]
    kept = [(tmp_path / name / "kept.jsonl").read_bytes() for name in ("good", "good_too", "good_again")]
    assert kept[0] == kept[1] == kept[2]
    assert all(int(uid[4:]) % 6 >= 3 for uid in good.kept_uids)  # type: ignore[attr-defined]
    assert sum(part.n_kept for part in parts) == 30  # type: ignore[attr-defined]
    assert fsspec.filesystem("memory").exists("/bucket/weighted/kept_weights.npy")
