"""The wings of each product: imports run one way, no files import each other in a circle, no room grows too large.

`docs/architecture.md` is the map of them; what it names is there.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAP = ROOT / "docs" / "architecture.md"
MOST_ENTRIES, MOST_LINES = 14, 300

# A product's entries from the ground up, a line a level: a file imports its own wing and the levels below it, wings of
# one level do not know each other. A wing with a star is a registry: loaded by name, imported by nothing but itself.
WINGS = {
    "datapruner": """
        corpus
        scoring
        training memory
        *scorers *embedders *engines
        selection
        *selectors
        recipe
        output
        evaluation
        __init__
        cli integrations
    """,
    "contextpruner": """
        documents
        units
        models
        labeler quality
        decisions *labelers *qualities
        results
        pruner
        training
        prompts
        __init__
        integrations
        cli
    """,
    # some methods are trained, so that methods are no registry that nobody imports
    "tokenpruner": """
        models
        *adapters base report
        decoder vision_transformer
        before_decoder
        inside_decoder
        api methods
        __init__
        integrations training
        cli
    """,
}


# registries inside a wing: theirs are the same rights
INNER = ["contextpruner/units/splitters", "contextpruner/prompts/searches"]


def levels(product: str) -> dict[str, int]:
    """The level of each entry; those with a star keep it."""
    lines = WINGS[product].split("\n")
    return {name: level for level, line in enumerate(lines) for name in line.split()}


def entries(folder: Path) -> list[str]:
    """What stands at the top of a product: its wings and files."""
    return sorted(path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file())


def file_of(root: Path, module: str) -> Path | None:
    """The file of a module under `root`, None where it is a name inside one or none of ours."""
    path = root.joinpath(*module.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def imported(root: Path, file: Path) -> Iterator[Path]:
    """The files that `file` imports, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found = [file_of(root, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # a name that is a module of its own stands for that module, any other for the one it comes from
            module = str(node.module)
            found = [file_of(root, f"{module}.{alias.name}") or file_of(root, module) for alias in node.names]
        else:
            continue
        yield from (path for path in found if path is not None)


def arrows(root: Path, product: str) -> dict[Path, set[Path]]:
    """For each file of the product those that it imports of it."""
    folder = root / product
    files = sorted(folder.rglob("*.py"))
    return {file: {other for other in imported(root, file) if other.is_relative_to(folder)} for file in files}


def broken(root: Path, product: str) -> list[str]:
    """What of the house's order does not hold, a line each."""
    folder, level = root / product, levels(product)
    plain = {name.lstrip("*"): name for name in level}
    there = entries(folder)
    found = [f"{name}: in the table or in the folder, not in both" for name in sorted(plain.keys() ^ set(there))]
    # the package's own file is how it is imported, and no room of it
    rooms = [name for name in there if name != "__init__"]
    if len(rooms) > MOST_ENTRIES:
        found.append(f"{product} has {len(rooms)} entries at its top, at most {MOST_ENTRIES} are wanted")
    graph = arrows(root, product)
    for file, others in graph.items():
        lines = len(file.read_text("utf-8").splitlines())
        if lines > MOST_LINES:
            found.append(f"{file.relative_to(root)} has {lines} lines, at most {MOST_LINES} are wanted")
        here = plain.get(file.relative_to(folder).parts[0].removesuffix(".py"))
        for other in sorted(others):
            wing = plain.get(other.relative_to(folder).parts[0].removesuffix(".py"))
            if here is None or wing is None or here == wing:
                continue
            if wing.startswith("*") or level[wing] >= level[here]:
                found.append(f"{file.relative_to(root)} imports {other.relative_to(root)}, which is no wing below it")
    for inner in (root / name for name in INNER if name.startswith(f"{product}/")):
        for file, others in graph.items():
            if not file.is_relative_to(inner) and any(other.is_relative_to(inner) for other in others):
                found.append(f"{file.relative_to(root)} imports out of the registry {inner.relative_to(root)}")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        found.append(" imports ".join(str(file.relative_to(root)) for file in reversed(circle.args[1])))
    return found


@pytest.mark.parametrize("product", WINGS)
def test_wings_stand_in_their_order(product: str) -> None:
    assert broken(ROOT, product) == []


HOUSE = {
    "__init__.py": "from small.top import run\n",
    "ground/__init__.py": "",
    "ground/rows.py": "",
    "ground/files.py": "from small.ground import rows\n",
    "methods/__init__.py": "",
    "methods/one.py": "from small.ground.rows import x\n",
    "ground/readers/__init__.py": "",
    "ground/readers/one.py": "from small.ground.rows import x\n",
    "ground/readers/two.py": "from small.ground.readers.one import x\n",
    "top.py": "import small.ground.files\n",
}
MISTAKES = {
    "an arrow back": ({"ground/rows.py": "from small.top import run\n"}, "ground/rows.py imports small/top.py"),
    "an arrow back in a function": (
        {"ground/rows.py": "def f():\n    import small.top\n"},
        "ground/rows.py imports small/top.py",
    ),
    "an arrow back for types": (
        {"ground/rows.py": "if TYPE_CHECKING:\n    from small import top\n"},
        "ground/rows.py imports small/top.py",
    ),
    "the package itself": ({"ground/rows.py": "import small\n"}, "ground/rows.py imports small/__init__.py"),
    "a method by its file": ({"top.py": "from small.methods.one import y\n"}, "top.py imports small/methods/one.py"),
    "a method of an inner registry": (
        {"ground/files.py": "from small.ground.readers.one import y\n"},
        "ground/files.py imports out of the registry small/ground/readers",
    ),
    "a circle in a wing": (
        {"ground/rows.py": "def f():\n    from small.ground.files import x\n"},
        "small/ground/files.py imports small/ground/rows.py imports small/ground/files.py",
    ),
    "a wing without a level": ({"attic/__init__.py": ""}, "attic: in the table or in the folder"),
    "a long file": ({"top.py": "\n" * 301}, "small/top.py has 301 lines"),
    "many entries": ({f"room{i}.py": "" for i in range(12)}, "small has 15 entries at its top"),
}


@pytest.mark.parametrize("mistake", [None, *MISTAKES])
def test_a_mistake_is_named_and_a_house_in_order_has_none(
    mistake: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, message = ({}, "") if mistake is None else MISTAKES[mistake]
    monkeypatch.setitem(WINGS, "small", "ground\n*methods\ntop\n__init__")
    monkeypatch.setattr(sys.modules[__name__], "INNER", ["small/ground/readers"])
    for name, text in {**HOUSE, **change}.items():
        file = tmp_path / "small" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    found = broken(tmp_path, "small")
    assert (mistake is None) == (found == [])
    assert message in "\n".join(found)


def named_paths(page: str) -> Iterator[tuple[str, str]]:
    """Every path of a file or folder on the page, with the product whose part of the page names it."""
    product = ""
    for line in page.splitlines():
        if line.startswith("## "):
            product = line.removeprefix("## ").strip()
        for name in re.findall(r"(?<![\w/<.-])(\w[\w/]*(?:\.py(?:::\w+)?|/))(?![\w<*])", line):
            yield product, name


def test_the_map_names_what_is_there() -> None:
    page = MAP.read_text("utf-8")
    names = [*named_paths(page)]
    for product, name in names:
        path, _, test = name.partition("::")
        found = [base / path for base in (ROOT, ROOT / product) if (base / path).exists()]
        assert found, f"{MAP.name} names {name}, which is not there"
        assert not test or re.search(rf"^def {test}\(", found[0].read_text("utf-8"), re.MULTILINE), name
    for product in WINGS:
        drawn = {name.strip("/").partition("/")[0].removesuffix(".py") for part, name in names if part == product}
        missing = {wing.lstrip("*") for wing in levels(product)} - drawn
        assert not missing, f"{MAP.name} does not show {', '.join(sorted(missing))} of {product}"
