"""What CONTRIBUTING.md says a method writes is what its base class calls."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `([\w/]+/)` \| (.*?) \| (.*?) \|$", re.MULTILINE)


def rows() -> dict[str, tuple[str, str]]:
    """For each folder of the table what is to be written, and where the base class is."""
    found = ROW.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    return {folder: (writes, base) for folder, writes, base in found}


def functions(base: str) -> dict[str, list[set[str]]]:
    """Names of the methods of the base classes in the files that `base` names, each with the parameters it may take."""
    found: dict[str, list[set[str]]] = {}
    folder = next(iter(re.findall(r"in `([\w/]+/)`", base)), "")
    for name in re.findall(r"`([\w/]+\.py)`", base):
        for node in ast.walk(ast.parse((ROOT / folder / name).read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                found.setdefault(node.name, []).append({argument.arg for argument in node.args.args} - {"self"})
    return found


@pytest.mark.parametrize("folder", rows())
def test_the_guide_names_methods_as_they_are(folder: str) -> None:
    writes, base = rows()[folder]
    known = functions(base)
    told = [
        (name, {*filter(None, re.split(r",\s*", given))}) for name, given in re.findall(r"`(\w+)\((.*?)\)`", writes)
    ]
    assert told, f"{folder}: the guide names no method"
    # a state is handed to who takes one: see tests/datapruner/scoring/test_own_scorers.py
    optional = {"state", "workspace"}
    for name, given in told:
        assert any(given - optional == takes - optional for takes in known.get(name, [])), f"{folder}: {name}{given}"


def test_every_folder_of_methods_is_in_the_guide() -> None:
    assert {"datapruner/scorers/", "datapruner/embedders/", "datapruner/selectors/"} <= rows().keys()
    assert len(rows()) >= 6
