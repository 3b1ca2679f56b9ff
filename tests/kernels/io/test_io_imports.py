"""The part of the core without tensors: standard library at its top, read by products and by nothing of the core."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from prunekernels import io

FOLDER = Path(io.__file__).parent
CORE = FOLDER.parent
FILES = sorted(FOLDER.glob("*.py"))


def imported(path: Path, nodes: list[ast.stmt] | None = None) -> set[str]:
    """Modules that a file imports: anywhere, or by `nodes` alone."""
    tree = ast.parse(path.read_text("utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree) if nodes is None else nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_only_the_standard_library_at_the_top(path: Path) -> None:
    names = imported(path, ast.parse(path.read_text("utf-8")).body)
    tops = {name.partition(".")[0] for name in names} - {"prunekernels"}
    assert tops <= sys.stdlib_module_names
    ours = {name for name in names if name.startswith("prunekernels.")}
    assert all(name.startswith(("prunekernels.io", "prunekernels.extras")) for name in ours)


def test_nothing_else_of_the_core_imports_it() -> None:
    for path in CORE.glob("*.py"):
        assert not any(name.startswith("prunekernels.io") for name in imported(path)), path


def test_it_works_without_any_package() -> None:
    modules = ", ".join(f"prunekernels.io.{path.stem}" for path in FILES if path.stem != "__init__")
    code = f"import sys; sys.path.insert(0, {str(CORE.parent)!r}); import {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
