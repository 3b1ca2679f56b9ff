"""The example of copies keeps what it says: no spam, no page twice in other words, nothing of the older corpus."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "remove_copies.py"


def test_the_example_keeps_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert capsys.readouterr().out.splitlines() == [
        "the best of each: 220 of 290 rows, 0 with spam",
        "of meanings too: 200 of 290 rows, 0 with spam",
        "the longest: 220 of 290 rows, 40 with spam",
    ]
