"""`methods` lists what there is, and names what other distributions broke."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_one_broken_entry_point_is_named_and_passed_over(tmp_path: Path) -> None:
    about = tmp_path / "other-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[datapruner.scorers]\nbroken = other_broken:Broken\nlength = other_broken:Broken\n"
        "[datapruner.selectors]\ntop = other_broken:Broken\n"
    )
    (tmp_path / "other_broken.py").write_text("raise RuntimeError('\\x1b[31mno')\n")
    paths = os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "kernels")])
    done = subprocess.run(
        [sys.executable, "-m", "datapruner.cli", "methods"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    assert "near_duplicate" in done.stdout
    assert "'broken', an entry point of other, fails on import: RuntimeError" in done.stdout
    assert "datapruner.selectors has a 'top' of its own, which stays" in done.stdout
    assert "\x1b" not in done.stdout
