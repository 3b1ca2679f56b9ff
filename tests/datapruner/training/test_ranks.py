"""Several processes that train together end with what one alone would have, whoever had which row in which epoch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datapruner.training.record_file import Record

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")])}
    command = [sys.executable, "-m", "tests.datapruner.training.ranks", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_rank_has_the_record_of_all(folder: Path) -> None:
    alone = Record(folder / "alone.safetensors")
    assert alone.column("forgettings").sum() > 0
    for rank in range(2):
        found = Record(folder / f"rank{rank}.safetensors")
        assert found.arrays.keys() == alone.arrays.keys()
        for name, array in alone.arrays.items():
            np.testing.assert_array_equal(array, found.arrays[name], err_msg=name)


def test_every_rank_prunes_the_same_rows(folder: Path) -> None:
    alone = np.load(folder / "alone.npy")
    for rank in range(2):
        np.testing.assert_array_equal(np.load(folder / f"rank{rank}.npy"), alone)
    assert len(alone) < 2 * 13
