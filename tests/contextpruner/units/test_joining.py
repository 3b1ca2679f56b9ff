"""What is kept is joined so that nothing runs on from a line that it did not stand on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextpruner import ContextPruner, split
from contextpruner.units.join import join_kept

TEXT = "A one. A two.\n\n# Head\r\n\r\nB one. B two.\n- item\n- other\n\nC one."
UNITS = [TEXT[unit.start : unit.end] for unit in split(TEXT)]


@pytest.mark.parametrize(
    ("kept", "wanted"),
    [
        ([0, 1], "A one. A two.\n\n"),
        ([0, 2], "A one. \n\n# Head\r\n\r\n"),
        ([0, 4], "A one. \n\nB two.\n"),
        ([2, 3], "# Head\r\n\r\nB one. "),
        ([3, 5], "B one. \n- item\n"),
        # the blank line below the list stays, too
        ([5, 7], "- item\n\nC one."),
        ([1, 3], "A two.\n\nB one. "),
        # nothing before the first
        ([6], "- other\n\n"),
        ([], ""),
        (range(8), TEXT),
    ],
)
def test_line_breaks_stay_where_the_end_of_a_line_is_dropped(kept: list[int], wanted: str) -> None:
    assert UNITS == [
        "A one. ",
        "A two.\n\n",
        "# Head\r\n\r\n",
        "B one. ",
        "B two.\n",
        "- item\n",
        "- other\n\n",
        "C one.",
    ]
    assert join_kept(UNITS, [place in kept for place in range(8)]) == wanted


def test_texts_without_anything_change_nothing() -> None:
    assert join_kept(["A.\n", "", "B."], [True, True, True]) == "A.\nB."
    assert join_kept(["A.", "", "\n", "B."], [True, True, False, True]) == "A.\nB."


PIECES = st.sampled_from(["A b. ", "C!\n", "# D\n", "- e\n", "| f |\n", "\n", "  g = 1\n", "\r\n", "\u2028", "H.\n\n"])


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(PIECES, min_size=1, max_size=12), drawn=st.lists(st.booleans(), min_size=40, max_size=40))
def test_any_choice_keeps_its_lines_and_adds_none(pieces: list[str], drawn: list[bool]) -> None:
    text = "".join(pieces)
    units = [text[unit.start : unit.end] for unit in split(text)]
    kept = drawn[: len(units)]
    got = join_kept(units, kept)
    remaining = iter(text)
    assert all(character in remaining for character in got)
    chosen = [unit for unit, is_kept in zip(units, kept, strict=True) if is_kept]
    assert "".join(got.split()) == "".join("".join(chosen).split())
    at, before = 0, ""
    for unit, is_kept in zip(units, kept, strict=True):
        if is_kept:
            place = got.index(unit, at)
            # behind a line break in the document, behind one here
            assert not place or not before or _breaks(before) == 0 or _breaks(got[:place]) > 0
            at = place + len(unit)
        before += unit
    assert join_kept(units, [True] * len(units)) == text


def test_a_pruned_document_keeps_the_lines_of_what_stays() -> None:
    text = "The dome is tall. Tickets cost little.\n\n# Dome\n\nBuilt of brick. Bread is baked."
    result = ContextPruner("bm25").prune("dome", [text], threshold=0.1, top_k=None)
    assert result.documents[0].text == "The dome is tall. \n\n# Dome\n\nBuilt of brick. "
    assert result.n_tokens_after == ContextPruner("bm25").count_tokens(result.documents[0].text)


def _breaks(text: str) -> int:
    """How many line breaks `text` ends with."""
    end = text[len(text.rstrip()) :]
    return len((end + "x").splitlines()) - 1
