"""The example runs as it stands."""

from __future__ import annotations

import runpy
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "prune_tokens.py"


def test_the_example_runs(capsys):
    assert len(EXAMPLE.read_text("utf-8").splitlines()) <= 40
    runpy.run_path(str(EXAMPLE))["main"]()
    printed = capsys.readouterr().out
    # the width of the table is the view's own
    assert "visual tokens 576 57 9.9 %" in " ".join(printed.split())
    assert "both forms say the same: True" in printed
