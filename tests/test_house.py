"""The house's own rules: which way imports flow, what an import needs, and living beside HF's `kernels`."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRODUCTS = ("datapruner", "tokenpruner", "contextpruner")
PACKAGES = {"prunekernels": ROOT / "kernels" / "prunekernels", **{name: ROOT / name for name in PRODUCTS}}
SOURCES = [(name, path) for name, folder in PACKAGES.items() for path in sorted(folder.rglob("*.py"))]
LEAVES = ("cli", "server", "integrations")


def _imported(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize(("package", "path"), SOURCES, ids=[str(path.relative_to(ROOT)) for _, path in SOURCES])
def test_imports_flow_one_way(package: str, path: Path) -> None:
    modules = _imported(path)
    tops = {module.partition(".")[0] for module in modules}
    assert not tops & (set(PACKAGES) - {package, "prunekernels"})
    leaves = {f"{package}.{leaf}" for leaf in LEAVES}
    if not any(part.removesuffix(".py") in LEAVES for part in path.relative_to(PACKAGES[package]).parts):
        assert not any(module == leaf or module.startswith(f"{leaf}.") for module in modules for leaf in leaves)


def _python(code: str) -> subprocess.CompletedProcess[str]:
    # the repository root goes first on the path, as when somebody works in it
    lines = [f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'kernels')!r}]", code]
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, cwd=ROOT, timeout=240
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_with_only_torch_and_numpy(package: str) -> None:
    blocked = "transformers triton typer rich pyarrow rensa PIL matplotlib sentence_transformers datasets faiss sklearn"
    done = _python(
        f"""
import time, torch
# None makes an import raise as if the package were not there
sys.modules.update(dict.fromkeys({blocked.split()!r}))
start = time.process_time()
import {package}
print(time.process_time() - start)
"""
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1


# transformers takes HF's package only from a version on; told that this one is, it imports from it for real
BESIDE = """
import importlib.metadata
real = importlib.metadata.version
importlib.metadata.version = lambda name: "0.18.2" if name == "kernels" and {pretend} else real(name)
import kernels, prunekernels, transformers
from transformers import LlamaForCausalLM
assert "site-packages" in kernels.__file__, kernels.__file__
assert transformers.utils.is_kernels_available() or not {pretend}
print(LlamaForCausalLM.__name__, prunekernels.__file__)
"""


@pytest.mark.parametrize("pretend", [False, True])
def test_lives_beside_the_package_named_kernels(pretend: bool) -> None:
    assert not (ROOT / "kernels" / "__init__.py").exists()
    done = _python(BESIDE.format(pretend=pretend))
    assert done.stdout.split() == ["LlamaForCausalLM", str(PACKAGES["prunekernels"] / "__init__.py")], done.stderr


def test_a_package_of_ours_named_kernels_would_break_transformers(tmp_path: Path) -> None:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("")
    done = _python(f"sys.path.insert(0, {str(tmp_path)!r})\n{BESIDE.format(pretend=True)}")
    assert done.returncode != 0
    assert "ImportError" in done.stderr


def test_wheel_holds_the_four_packages(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    wheel = next(tmp_path.glob("prunekit-*.whl"))
    site = tmp_path / "site"
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "-q",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    assert {path.name for path in site.iterdir() if path.suffix != ".dist-info"} - {"bin"} == set(PACKAGES)
    code = f"import sys; sys.path.insert(0, {str(site)!r}); import {', '.join(PACKAGES)}; print(prunekernels.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert done.stdout.startswith(str(site)), done.stderr
    for name, folder in PACKAGES.items():
        shipped = {path.relative_to(site / name) for path in (site / name).rglob("*.py")}
        assert shipped == {path.relative_to(folder) for path in folder.rglob("*.py")}


def test_no_possessive_groups() -> None:
    """Python before 3.11.5 goes wrong where a possessive quantifier stands behind a group of characters."""
    for package in PACKAGES:
        folder = ROOT / ("kernels" if package == "prunekernels" else "") / package
        for path in folder.rglob("*.py"):
            assert not re.search(r"\)[*+?]\+", path.read_text("utf-8")), path
