"""SECURITY.md names a test for each promise, and the tests are there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_promise_names_its_test() -> None:
    rows = [line for line in (ROOT / "SECURITY.md").read_text("utf-8").splitlines() if line.startswith("|")]
    promises = [row for row in rows if not row.startswith(("| ---", "|---", "| opened", "| promise"))]
    assert len(promises) >= 9
    for row in promises:
        named = re.findall(r"`([\w/]*test_\w+\.py)`", row)
        assert named, row
        folder = named[0].rpartition("/")[0]
        for name in named:
            assert (ROOT / (name if "/" in name else f"{folder}/{name}")).is_file(), name
