"""The folder is the registry, and the text form of a method is its fields."""

import dataclasses
import sys
from pathlib import Path

import pytest

from prunekernels import registry, spec


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    package = tmp_path / "shop" / "tools"
    package.mkdir(parents=True)
    (tmp_path / "shop" / "__init__.py").write_text("class Tool:\n    pass\n")
    (package / "__init__.py").write_text("")
    (package / "_shared.py").write_text("")
    (package / "hammer.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\nfrom typing import Literal\nfrom shop import Tool\n"
        "class Helper:\n    pass\n"
        "@dataclass(frozen=True)\nclass Hammer(Tool):\n"
        "    weight: float = 1.5\n    count: int = 2\n    name: str | None = None\n"
        "    soft: bool = False\n    head: Literal['flat', 'round'] = 'flat'\n"
    )
    (package / "broken.py").write_text("from shop import Tool\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "shop.tools"
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def _tool() -> type:
    import shop

    return shop.Tool


def test_files_are_methods(folder: str) -> None:
    assert registry.names(folder) == ["broken", "hammer"]
    assert registry.load(folder, "hammer", _tool()).__name__ == "Hammer"


def test_unknown_and_broken_methods(folder: str) -> None:
    with pytest.raises(ValueError, match="no 'saw'; it has broken, hammer"):
        registry.load(folder, "saw", _tool())
    with pytest.raises(TypeError, match="one class"):
        registry.load(folder, "broken", _tool())


def test_text_form(folder: str) -> None:
    hammer = spec.build(folder, "hammer:weight=2,count=3,name=a=b,soft=true,head=round", _tool())
    assert dataclasses.astuple(hammer) == (2.0, 3, "a=b", True, "round")
    assert dataclasses.astuple(spec.build(folder, " hammer : name=None, count=4 ", _tool()))[1:3] == (4, None)
    assert spec.describe(hammer) == "hammer:weight=2.0,count=3,name=a=b,soft=True,head=round"
    assert spec.build(folder, spec.describe(hammer), _tool()) == hammer
    assert spec.build(folder, "hammer", _tool()) == type(hammer)()
    assert spec.describe(type(hammer)()) == "hammer"
    assert spec.describe(type(hammer)(count=5)) == "hammer:count=5"


@dataclasses.dataclass(frozen=True)
class Saw:
    """Teeth of one size or of several."""

    teeth: int | tuple[int, ...] = 8
    angles: tuple[float, ...] | None = None


@pytest.mark.parametrize(
    ("saw", "text"),
    [
        (Saw(), ""),
        (Saw(teeth=4), ":teeth=4"),
        (Saw(teeth=(4,)), ":teeth=4/"),
        (Saw(teeth=(4, 2, 2)), ":teeth=4/2/2"),
        (Saw(teeth=()), ":teeth=/"),
        (Saw(teeth=(1, 2), angles=(0.5, 1.0)), ":teeth=1/2,angles=0.5/1.0"),
    ],
)
def test_several_numbers_in_one_field(saw: Saw, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda package, name, kind: Saw)
    own = Saw.__module__.rpartition(".")[2]
    assert spec.describe(saw) == own + text
    assert spec.build("tools", own + text, Saw) == saw


def test_a_single_number_is_several_where_no_other_kind_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda package, name, kind: Saw)
    assert spec.build("tools", "saw:angles=3", Saw) == Saw(angles=(3.0,))
    with pytest.raises(ValueError, match="saw.teeth wants int, got 'x'"):
        spec.build("tools", "saw:teeth=4/x", Saw)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hammer:wieght=2", "weight, count"),
        ("hammer:count", "field=value"),
        ("hammer:count=two", "hammer.count wants int, got 'two'"),
        ("hammer:soft=maybe", "hammer.soft wants bool"),
        ("hammer:head=square", "hammer.head wants"),
        ("saw", "no 'saw'"),
    ],
)
def test_text_form_refuses(folder: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec.build(folder, text, _tool())
