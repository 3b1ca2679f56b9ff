"""What every method of datapruner says of itself for docs/methods.md: paper, what it reads, direction and cost."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from datapruner import Embedder, Scorer, Selector
from prunekernels import registry

KINDS: dict[str, type] = {"scorers": Scorer, "embedders": Embedder, "selectors": Selector}
METHODS = [(kind, name) for kind in KINDS for name in registry.names(f"datapruner.{kind}")]
SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "make_methods.py"


def _script() -> object:
    spec = importlib.util.spec_from_file_location("make_methods", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE_METHODS = _script()


@pytest.mark.parametrize(("kind", "name"), METHODS, ids=[f"{kind}.{name}" for kind, name in METHODS])
def test_every_method_says_what_the_page_tells(kind: str, name: str) -> None:
    method = registry.load(f"datapruner.{kind}", name, KINDS[kind])
    row = MAKE_METHODS.row(method, name)  # type: ignore[attr-defined]
    unsaid = [column for column, text in row.items() if text == MAKE_METHODS.UNSAID]  # type: ignore[attr-defined]
    assert not unsaid, f"datapruner/{kind}/{name}.py: want class variables or a docstring that say {', '.join(unsaid)}"
    assert [*row] == ["name", "paper", "what it does", "what it reads", "direction", "cost", "defaults"]
    # a page is read by people: one line, a sentence at most
    assert all("\n" not in text and len(text) <= 400 for text in row.values())


def test_what_is_not_said_stands_out() -> None:
    class Silent(Scorer):
        """Rule: nothing."""

    row = MAKE_METHODS.row(Silent, "silent")  # type: ignore[attr-defined]
    assert (row["direction"], row["cost"]) == ("(not said)", "(not said)")
    assert (row["paper"], row["what it does"], row["what it reads"]) == ("none: a rule", "nothing.", "texts")
