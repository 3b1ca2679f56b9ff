"""What is shipped: the four packages with their types marked, and nothing of the tests."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("datapruner", "tokenpruner", "contextpruner", "kernels/prunekernels")
BESIDE = {"README.md", "SECURITY.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}


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


def test_every_package_is_marked_as_typed(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        names = {*archive.namelist()}
    assert {f"{package.rpartition('/')[2]}/py.typed" for package in PACKAGES} <= names
    assert not any(name.startswith(("tests/", "kernels/", "benchmarks/")) for name in names)
