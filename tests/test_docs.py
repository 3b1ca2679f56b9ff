"""README snippets print what the README says they print; generated pages are up to date; examples run."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import tables

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
# a python block, and right after it the text block that it prints
SNIPPETS = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", README, re.DOTALL)


def test_one_short_snippet_a_product() -> None:
    for product in ("datapruner", "tokenpruner", "contextpruner"):
        assert sum(f"import {product}" in code or f"from {product} " in code for code, _ in SNIPPETS) == 1
    assert all(len(code.strip().splitlines()) <= 8 for code, _ in SNIPPETS)


def test_the_commands_come_first() -> None:
    top = "\n".join(README.splitlines()[:20])
    assert all(words in top for words in ("pip install", "make demo", "make test"))


@pytest.mark.parametrize(("code", "printed"), SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet_prints_what_the_readme_shows(
    code: str, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what a snippet reads stands in the repository; what it writes goes elsewhere
    for name in ("examples", ".models", "demo"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    if ".models/smollm2" in code:
        from demo import assets

        assets.smollm2()
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert shown.getvalue().strip() == printed.strip()


@pytest.mark.parametrize("page", ["methods", "families"])
def test_generated_page_is_up_to_date(page: str) -> None:
    script = ROOT / "docs" / f"make_{page}.py"
    done = subprocess.run([sys.executable, script, "--check"], cwd=ROOT, env=_environment())
    assert done.returncode == 0, f"run python docs/make_{page}.py"


def test_readme_counts_the_families_that_are_run() -> None:
    from tests.tokenpruner import known

    assert f"{len(known.FED)} families" in README


def test_measured_tables_are_those_of_the_results(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_text(README, "utf-8")
    assert not tables.refresh(copy)


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_example_runs_and_is_short(script: Path, tmp_path: Path) -> None:
    assert len(script.read_text("utf-8").splitlines()) <= 40
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=_environment(), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}"}
