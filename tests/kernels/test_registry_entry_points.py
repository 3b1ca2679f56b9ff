"""Entry points of other distributions add methods, and neither replace nor break what is there."""

import importlib
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from prunekernels import registry
from prunekernels.extras import require

PACKAGE = "toolbox.tools"
OURS = __name__


class Tool:
    """What methods are."""


class Drill(Tool):
    """One from elsewhere."""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs distributions, each with entry points "name = module:attribute"."""
    package = tmp_path / "toolbox" / "tools"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("")
    source = f"from {OURS} import Tool\nclass Top(Tool):\n    pass\n"
    (package / "top.py").write_text(source)
    importlib.invalidate_caches()
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('no\\nluck')\n")
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "toolbox"]:
        monkeypatch.delitem(sys.modules, name)

    def installed(distribution: str, *points: str) -> None:
        info = tmp_path / f"{distribution}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1\n")
        (info / "entry_points.txt").write_text("\n".join([f"[{PACKAGE}]", *points]) + "\n")

    return installed


def test_a_method_from_elsewhere_is_loaded(install: Callable[..., None]) -> None:
    install("more", f"drill = {OURS}:Drill")
    assert registry.names(PACKAGE) == ["drill", "top"]
    assert registry.load(PACKAGE, "drill", Tool) is Drill
    assert [*registry.methods(PACKAGE, Tool).found] == ["drill", "top"]
    assert registry.methods(PACKAGE, Tool).failed == {}


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("broken_module:Drill", "fails on import: RuntimeError: no$"),
        ("leaving:Drill", "fails on import: SystemExit: 3"),
        ("no_such_module:Drill", "fails on import: ModuleNotFoundError"),
        (f"{OURS}:Drll", "fails on import: AttributeError"),
        (f"{OURS}:OURS", "wants to be a class of kind Tool, got 'test"),
        ("pathlib:Path", "wants to be a class of kind Tool"),
    ],
)
def test_one_that_fails_is_named_and_passed_over(install: Callable[..., None], point: str, message: str) -> None:
    install("more", f"bad = {point}", f"drill = {OURS}:Drill")
    assert registry.names(PACKAGE) == ["bad", "drill", "top"]
    found, failed = registry.methods(PACKAGE, Tool)
    assert [*found] == ["drill", "top"]
    assert [*failed] == ["bad"]
    assert failed["bad"].startswith("toolbox.tools: 'bad', an entry point of more,")
    assert registry.load(PACKAGE, "top", Tool).__name__ == "Top"
    with pytest.raises(ValueError, match=message):
        registry.load(PACKAGE, "bad", Tool)


def test_a_built_in_cannot_be_shadowed(install: Callable[..., None]) -> None:
    install("more", f"top = {OURS}:Drill")
    assert registry.names(PACKAGE) == ["top"]
    assert registry.load(PACKAGE, "top", Tool).__module__ == "toolbox.tools.top"
    found, failed = registry.methods(PACKAGE, Tool)
    assert found["top"].__module__ == "toolbox.tools.top"
    assert failed == {"top of more": "toolbox.tools has a 'top' of its own, which stays"}


def test_a_name_that_two_take_is_nobodys(install: Callable[..., None]) -> None:
    install("more", f"drill = {OURS}:Drill")
    install("yet_more", f"drill = {OURS}:Drill")
    with pytest.raises(ValueError, match="'drill' is taken by more and yet_more"):
        registry.load(PACKAGE, "drill", Tool)
    assert [*registry.methods(PACKAGE, Tool).failed] == ["drill"]


def test_one_distribution_found_twice_is_one(monkeypatch: pytest.MonkeyPatch, install: Callable[..., None]) -> None:
    point = EntryPoint("drill", f"{OURS}:Drill", PACKAGE)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point, point])
    assert registry.load(PACKAGE, "drill", Tool) is Drill


def test_a_class_is_known_by_its_file_its_entry_point_or_itself(install: Callable[..., None]) -> None:
    install("more", f"drill = {OURS}:Drill")
    assert registry.name_of(PACKAGE, registry.load(PACKAGE, "top", Tool)) == "top"
    assert registry.name_of(PACKAGE, Drill) == "drill"
    # in a group that does not name it
    assert registry.name_of("toolbox", Drill) == f"{OURS}.Drill"
    # of the same module, and no entry point
    assert registry.name_of(PACKAGE, Tool) == f"{OURS}.Tool"
    # a file of the folder that does not hold the class
    assert registry.name_of(PACKAGE, type("Top", (Tool,), {"__module__": "elsewhere.top"})) == "elsewhere.top.Top"


def test_an_entry_point_by_another_modules_name(
    install: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "front.py").write_text(f"from {OURS} import Drill as Borer\n")
    install("more", "borer = front:Borer")
    assert registry.load(PACKAGE, "borer", Tool) is Drill
    assert registry.name_of(PACKAGE, Drill) == "borer"
    monkeypatch.delitem(sys.modules, "front")


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportError, match=r'^this needs no_such: pip install "prunekit\[data\]"$'):
        require("no_such.part", "data")
    (tmp_path / "half_there.py").write_text("import no_such_part\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"this needs half_there: .* \(No module named 'no_such_part'\)"):
        require("half_there", "data")
    assert require("json", "data").loads("1") == 1
