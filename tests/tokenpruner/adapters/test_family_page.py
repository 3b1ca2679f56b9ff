"""docs/families.md says what can be done with the well-known families; of the others it is made anew by its script."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tokenpruner.adapters import known_families
from tests.tokenpruner.adapters.abilities import ABILITIES, measured
from tests.tokenpruner.adapters.family_checks import fed

PAGE = Path(__file__).resolve().parents[3] / "docs" / "families.md"


def table() -> dict[str, list[str]]:
    """The cells of each line by the family it begins with."""
    lines = [line.strip("|").split("|") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    return {cells[0].strip().strip("`"): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_the_page_has_all_families_and_abilities():
    heads = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| family | class | before")]
    assert heads == [f"| family | class | {' | '.join(ABILITIES)} | not all of the above |"]
    assert {*known_families.FED} <= {*table()}


@pytest.mark.parametrize("name", known_families.NAMED)
def test_what_it_says_of_a_family_is_so(name):
    assert table()[name][1 : 1 + len(ABILITIES)] == [*measured(fed(name)).values()]
