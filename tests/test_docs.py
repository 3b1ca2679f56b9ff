"""README snippets print what the README says they print; generated pages are up to date; examples run."""

import ast
import contextlib
import io
import json
import operator
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import tables

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
# every python block, and what it prints where that stands right after it
BLOCK = re.compile(r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", re.DOTALL)
# folders of the clone that are installed, by their names
INSTALLED = {"datapruner", "tokenpruner", "contextpruner"}
NAME = operator.attrgetter("name")


def snippets(page: str) -> list[tuple[str, str]]:
    """The python blocks of a page that say what they print, with that."""
    return [(code, printed) for code, printed in BLOCK.findall(page) if printed]


SNIPPETS = snippets(README)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# its snippets are run by test_guide.py, on files of their own
GUIDE = "filtering_a_corpus.md"
# examples are 40 lines at most; this one reads sounds, embeds them and makes some
LONGER = {"audio_selection.py": 200}


def test_one_short_snippet_a_product() -> None:
    for product in ("datapruner", "tokenpruner", "contextpruner"):
        assert sum(f"import {product}" in code or f"from {product} " in code for code, _ in SNIPPETS) == 1
    assert all(len(code.strip().splitlines()) <= 8 for code, _ in SNIPPETS)


def test_the_commands_come_first() -> None:
    top = "\n".join(README.splitlines()[:20])
    assert all(words in top for words in ("pip install", "make demo", "make test"))


def test_readme_runs_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for code, printed in BLOCK.findall(README):
        clone = {name for name in _imported(code) if (ROOT / name).exists()} - INSTALLED
        assert not clone, f"README imports {clone}, which pip does not install"
        assert _printed(code, "README.md", names) == printed.strip()


@pytest.mark.parametrize(
    "page", [page for page in PAGES[1:] if page.name != GUIDE and snippets(page.read_text("utf-8"))], ids=NAME
)
def test_snippets_print_what_the_page_shows(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # what a snippet reads stands in the repository; what it writes goes elsewhere
    for name in ("examples", ".models", "demo"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    # a later snippet goes on with what the earlier ones of its page made
    names: dict[str, object] = {"__name__": "page"}
    for code, printed in snippets(page.read_text("utf-8")):
        if ".models/smollm2" in code:
            from demo import assets

            assets.smollm2()
        assert _printed(code, page.name, names) == printed.strip()


@pytest.mark.parametrize("page", ["methods", "families", "compatibility"])
def test_generated_page_is_up_to_date(page: str) -> None:
    script = ROOT / "docs" / f"make_{page}.py"
    done = subprocess.run([sys.executable, script, "--check"], cwd=ROOT, env=_environment())
    assert done.returncode == 0, f"run python docs/make_{page}.py"


def test_pyproject_allows_no_release_that_is_not_tested() -> None:
    newest = json.loads((ROOT / "benchmarks/results/compatibility.json").read_text("utf-8"))
    tested = [row["releases"] for run in newest for row in run["rows"] if not row["failed"]]
    for name in ("transformers", "sentence-transformers"):
        last = max([*map(int, releases[name].split("."))] for releases in tested if name in releases)
        (bound,) = re.findall(rf'"{name}>=[\d.]+,<([\d.]+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
        assert [*map(int, bound.split("."))] == [last[0], last[1] + 1]


def test_readme_counts_the_families_that_are_run() -> None:
    from tests.tokenpruner.adapters import known_families

    assert f"{len(known_families.FED)} families" in README


@pytest.mark.parametrize("page", [page for page in PAGES if tables.MARKED.search(page.read_text("utf-8"))], ids=NAME)
def test_measured_tables_are_those_of_the_results(page: Path, tmp_path: Path) -> None:
    copy = tmp_path / "page.md"
    copy.write_text(page.read_text("utf-8"), "utf-8")
    assert not tables.refresh(copy)


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_example_runs_and_is_short(script: Path, tmp_path: Path) -> None:
    assert len(script.read_text("utf-8").splitlines()) <= LONGER.get(script.name, 40)
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=_environment(), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def _imported(code: str) -> set[str]:
    """The packages that `code` imports."""
    nodes = [*ast.walk(ast.parse(code))]
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in found}


def _printed(code: str, place: str, names: dict[str, object]) -> str:
    """What `code` prints, run among `names`."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(code, place, "exec"), names)
    return shown.getvalue().strip()


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}"}
