"""What every token method says of itself for docs/methods.md: paper, what it reads, cost, and what is ours."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from prunekernels import registry
from tests.contracts.test_method_words import MAKE_METHODS, SCRIPT
from tokenpruner.base.before_decoder import Method
from tokenpruner.base.inside_decoder import LayerMethod, Stage
from tokenpruner.base.token_method import METHODS, TokenMethod

GUIDE = (SCRIPT.parent / "pruning_tokens.md").read_text("utf-8")
COLUMNS = ["name", "paper", "what it does", "where", "what it reads", "cost"]
BESIDE = ["positions, published", "positions, ours", "count, published", "count, ours", "defaults"]


@pytest.mark.parametrize("name", registry.names(METHODS))
def test_every_method_says_what_the_page_tells(name: str) -> None:
    method = registry.load(METHODS, name, TokenMethod)
    assert re.match(r"(Paper|Rule): \S", str(method.__doc__)), "the docstring begins with its paper or rule"
    row = MAKE_METHODS.row(method, name)  # type: ignore[attr-defined]
    unsaid = [column for column, text in row.items() if text == MAKE_METHODS.UNSAID]  # type: ignore[attr-defined]
    assert not unsaid, f"{name}.py: want class variables or a docstring that say {', '.join(unsaid)}"
    assert [*row] == COLUMNS + BESIDE
    # a page is read by people: one line, a sentence at most
    assert all("\n" not in text and len(text) <= 400 for text in row.values())
    assert (row["paper"] == "none: a rule") == (row["count, published"] == "none: a rule")
    assert row["paper"] == "none: a rule" or re.search(r"20\d\d.*arXiv:\d{4}\.\d{5}", row["paper"])


@pytest.mark.parametrize("name", registry.names(METHODS))
def test_the_guide_names_every_method(name: str) -> None:
    assert f"`{name}`" in GUIDE


def test_numbers_beside_the_published_ones() -> None:
    def row(name: str) -> dict[str, str]:
        found: dict[str, str] = MAKE_METHODS.row(registry.load(METHODS, name, TokenMethod), name)  # type: ignore[attr-defined]
        return found

    assert row("divprune")["count, ours"] == "9.8 %: 57 of 576"
    assert row("pyramiddrop")["count, ours"].endswith("12.5 %: 72 of 576, before layer 8 / 16 / 24")
    assert row("pyramiddrop")["positions, published"] == "compact"
    assert row("atp")["count, ours"] == "the data decides, before layer 4 / 14 / 24"
    # eleven times 8 of 196
    assert row("tome")["count, ours"] == "108 of 196 behind the last block"
    # it reads what the method inside reads
    assert row("spatial")["what it reads"] == "visual embeddings"


def test_what_is_not_said_stands_out() -> None:
    @dataclass(frozen=True)
    class Silent(Method):
        """Rule: nothing."""

    @dataclass(frozen=True)
    class SilentInside(LayerMethod):
        """Paper: nobody 2025; nothing."""

        def stages(self, n_layers: int) -> tuple[Stage, ...]:
            return (Stage(2, 0.5),)

    row = MAKE_METHODS.row(Silent, "silent")  # type: ignore[attr-defined]
    assert (row["paper"], row["what it does"], row["what it reads"]) == ("none: a rule", "nothing.", "the grid alone")
    assert (row["cost"], row["count, published"]) == ("(not said)", "none: a rule")
    row = MAKE_METHODS.row(SilentInside, "silent")  # type: ignore[attr-defined]
    assert [row[name] for name in ("what it reads", "cost", "count, published")] == ["(not said)"] * 3
