"""`methods` lists what there is, and names what other distributions broke."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from datapruner.cli import app


def test_one_broken_entry_point_is_named_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "other-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[datapruner.scorers]\nbroken = other_broken:Broken\nlength = other_broken:Broken\n"
        "[datapruner.selectors]\ntop = other_broken:Broken\n"
    )
    (tmp_path / "other_broken.py").write_text("raise RuntimeError('\\x1b[31mno')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    done = CliRunner().invoke(app, ["methods"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "near_duplicate" in done.output
    assert "'broken', an entry point of other, fails on import: RuntimeError" in done.output
    assert "datapruner.selectors has a 'top' of its own, which stays" in done.output
    assert "\x1b" not in done.output
