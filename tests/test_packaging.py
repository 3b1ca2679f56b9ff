"""What is shipped: the four packages with their types marked, nothing of the tests, and what an index shows of them."""

import email
import email.policy
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import contextpruner
import datapruner
import prunekernels
import tokenpruner

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("datapruner", "tokenpruner", "contextpruner", "kernels/prunekernels")
BESIDE = {"README.md", "CHANGELOG.md", "SECURITY.md", "CITATION.cff", "LICENSE", "PKG-INFO"}
BESIDE |= {"pyproject.toml", "hatch_build.py", ".gitignore"}
# a link or picture of Markdown that has neither a scheme nor is a place on the page
RELATIVE = re.compile(r"\]\((?![a-z]+:|#)[^)]*\)")
# large, or for few
NAMED_ALONE = ("onnx", "onnxruntime", "spacy", "ray", "datatrove", "nemo-curator")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, timeout=240)
    return folder


def _files(package: str) -> set[str]:
    found = (path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in found}


def test_the_source_distribution_holds_the_packages_and_no_tests(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        shipped = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    wanted = set.union(*map(_files, PACKAGES))
    assert wanted - shipped == set()
    assert shipped - wanted <= BESIDE
    assert {"README.md", "SECURITY.md", "LICENSE", "pyproject.toml"} <= shipped


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {path.removeprefix("kernels/") for path in set.union(*map(_files, PACKAGES))}
    assert {f"{package.rpartition('/')[2]}/py.typed" for package in PACKAGES} <= names
    assert "contextpruner/models/multilingual/model.safetensors" in names


def test_what_an_index_shows_is_whole(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        shown = email.message_from_bytes(archive.read(name), policy=email.policy.default)
    assert shown["Version"] == prunekernels.__version__
    assert shown["Description-Content-Type"] == "text/markdown"
    urls = dict(entry.split(", ", 1) for entry in shown.get_all("Project-URL"))
    assert urls.keys() == {"Repository", "Documentation", "Changelog", "Issues"}
    text = shown.get_content()
    assert f"{urls['Repository']}/blob/main/docs/methods.md" in text
    assert f"![Accuracy against what is computed and against measured time]({urls['Repository']}/raw/main/docs/" in text
    assert not RELATIVE.findall(text)
    wanted = [re.match(r"[\w-]+", entry)[0] for entry in shown.get_all("Requires-Dist") if "extra == 'all'" in entry]
    assert {"pyarrow", "fastapi", "langchain-core"} <= {*wanted}
    assert not {*wanted} & {*NAMED_ALONE}


def test_the_version_is_one() -> None:
    assert {datapruner.__version__, tokenpruner.__version__, contextpruner.__version__} == {prunekernels.__version__}
    assert str(_yaml("CITATION.cff")["version"]) == prunekernels.__version__


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    pages = re.findall(r"\w+\.md", json.dumps(_yaml("mkdocs.yml")["nav"]))
    made = {"index.md", "measured.md", "changelog.md", "contributing.md", "security.md"}
    assert sorted(pages) == sorted({path.name for path in (ROOT / "docs").glob("*.md")} | made)


def _yaml(name: str) -> dict[str, object]:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))
