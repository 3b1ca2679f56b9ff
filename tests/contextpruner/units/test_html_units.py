"""HTML: units are slices of the source, and their texts are what a reader sees."""

import html
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contextpruner import Unit, split_html
from contextpruner.units.formats.html.blocks import page_blocks
from contextpruner.units.formats.html.tokens import tokens
from tests.contextpruner.stopwatch import seconds
from tests.contextpruner.units.html_sources import PAGE, SOURCES, read_and_pruned


def shown(source: str, units: list[Unit]) -> list[tuple[str, str, str]]:
    return [(unit.kind, unit.path, (unit.text or "").strip("\n")) for unit in units if unit.kind != "markup"]


def check_partition(source: str, units: list[Unit]) -> None:
    edges = [0, *(unit.end for unit in units)]
    assert [unit.start for unit in units] == edges[:-1]
    assert edges[-1] == len(source)
    assert all(unit.start < unit.end for unit in units)
    for index, unit in enumerate(units):
        assert unit.text is not None
        assert (unit.kind == "markup") == (unit.text == "")
        for link in (unit.link("heading"), unit.link("header"), unit.link("signature")):
            assert link is None or (link < index and units[link].kind != "markup")


def test_a_page_as_a_reader_sees_it() -> None:
    units = split_html(PAGE)
    check_partition(PAGE, units)
    body = "html/body"
    assert shown(PAGE, units) == [
        ("heading", "html/head/title", "My & page"),
        ("heading", f"{body}/h1", "Top"),
        ("sentence", f"{body}/p", "One bold. "),
        ("sentence", f"{body}/p", "Next word \N{EM DASH} it\N{RIGHT SINGLE QUOTATION MARK}s. "),
        ("sentence", f"{body}/p", "Third one."),
        ("sentence", f"{body}/p", "Line"),
        ("list_item", f"{body}/ul/li", "a. b"),
        ("list_item", f"{body}/ul/li", "c"),
        ("list_item", f"{body}/ul/li/ul/li", "d"),
        ("table_row", f"{body}/table/tr", "n | s"),
        ("table_row", f"{body}/table/tr", "1 | 2"),
        ("heading", f"{body}/h2", "Sub"),
        ("sentence", f"{body}/div", "text"),
        ("sentence", f"{body}/div/div", "inner"),
        ("sentence", f"{body}/div", "after"),
        ("code", f"{body}/pre", "def f():"),
        ("code", f"{body}/pre", "    return 1 < 2"),
        ("sentence", body, "x < y & z"),
        ("sentence", f"{body}/p", "end"),
    ]


def test_slices_are_the_source_and_tags_between_sentences_go_where_they_belong() -> None:
    slices = [PAGE[unit.start : unit.end] for unit in split_html(PAGE)]
    assert "One <b>bold. " in slices
    assert "Next</b> word &mdash; it&#8217;s. " in slices
    assert "<i>Third</i>\none." in slices
    assert "1</td><td><p>2" in slices


def test_links_lead_over_the_markup() -> None:
    units = split_html(PAGE)
    by_text = {(unit.text or "").strip(): unit for unit in units}
    assert units[by_text["1 | 2"].link("header") or 0] is by_text["n | s"]
    assert units[by_text["return 1 < 2"].link("signature") or 0] is by_text["def f():"]
    assert units[by_text["inner"].link("heading") or 0] is by_text["Sub"]
    assert units[by_text["Sub"].link("heading") or 0] is by_text["Top"]
    assert units[by_text["Top"].link("heading") or 0] is by_text["My & page"]


def test_a_table_that_lays_out_a_page_is_its_blocks() -> None:
    page = f"<table><tr><td><p>{'Left. ' * 60}</p></td><td><h1>Right</h1><p>{'Text. ' * 60}</p></td></tr></table>"
    kinds = {unit.kind for unit in split_html(page)}
    assert kinds == {"markup", "sentence", "heading"}


def test_entities_that_stand_for_nothing_or_much() -> None:
    for source, text in (
        ("a&#1;b", "a\ufffdb"),
        ("&bogus; &amp", "&bogus; &"),
        ("&#xD800;", "\ufffd"),
        ("&#99999999999;", "&#99999999999;"),
    ):
        assert "".join(unit.text or "" for unit in split_html(source)).strip() == text


@settings(max_examples=400, deadline=None)
@given(source=SOURCES, limit=st.sampled_from([7, 1200]))
@example(source="</&Two</", limit=7)
@example(source="&bne;", limit=1)
@example(source="abcd &notit; efg &Twofold; &amp;lt; &#0; &", limit=7)
def test_any_source_is_partitioned_and_every_visible_character_is_in_its_unit(source: str, limit: int) -> None:
    assert "".join(source[token.start : token.end] for token in tokens(source)) == source
    units = split_html(source, limit)
    check_partition(source, units)
    assert "".join(unit.text or "" for unit in units) == page_blocks(source).visible.text
    for unit in units:
        if unit.kind != "markup":
            # what a reader sees of a unit is in its slice, without tags and spelled out, but for targets
            seen = re.sub(r"\s+|\||\(x>y\)", "", unit.text or "")
            bare = re.sub(r"\s+|\|", "", html.unescape(source[unit.start : unit.end]))
            place = -1
            for character in seen:
                place = bare.find(character, place + 1)
                assert place >= 0 or character == "\ufffd"


HARD = [
    "<",
    "<a",
    "<a ",
    '<a "',
    "<!--",
    "<script>",
    "<p>",
    "</p>",
    "<b> </b>",
    "<div>",
    "&",
    "&#1",
    "<td>x",
    "<li>x. Y ",
]
HARD += [
    "<tr><td>a</td></tr>",
    "<title>",
    '<a ">"',
    "<x></y>",
    " \n",
    "<pre>a\n</pre>",
    "</",
    "<br>a. ",
    "<a b='",
    "</div>",
]


@pytest.mark.parametrize("piece", HARD)
def test_time_is_linear_on_hard_sources(piece: str) -> None:
    short, long = (piece * (n // len(piece)) + ('"' if '"' in piece else "") for n in (10_000, 40_000))
    # four times the source in about four times the time; a quadratic rule would take sixteen times as long
    assert seconds(read_and_pruned, long) < 9 * seconds(read_and_pruned, short) + 0.1


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("a  b", "a b"),
        ("a&#59;b", "a;b"),
        ("a &notit; b", "a ¬it; b"),
        ("a &Two b", "a &Two b"),
        ("a &amp;lt; b", "a &lt; b"),
        ("a&nbsp; b", "a\u00a0 b"),
    ],
)
def test_entities_as_a_reader_sees_them(source: str, shown: str) -> None:
    (unit,) = split_html(source)
    assert (unit.text or "").rstrip("\n") == shown
