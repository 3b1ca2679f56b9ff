"""HTML: units are slices of the source, their texts are what a reader sees, and what is kept is balanced."""

import gc
import html
import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contextpruner import ContextPruner, Policy, SplitDocument, Unit, split_html
from contextpruner.document import Document
from contextpruner.html_prune import prune_html
from contextpruner.html_tokens import VOID, tokens

PAGE = """<!DOCTYPE html>
<html><head><title>My &amp; page</title><style>p { x: y }</style><script>if (a<b) "</p>";</script></head>
<body><!-- <p>no --><h1 id="a>b">Top</h1>
<p class="x">One <b>bold. Next</b> word &mdash; it&#8217;s. <i>Third</i>
one.<br>Line</p>
<ul><li>a. b<li>c <ul><li>d</ul></ul>
<table><tr><th>n</th><th>s</th></tr><tr><td>1</td><td><p>2</p></td></tr></table>
<h2>Sub</h2><div>text <div>inner</div> after<img src="x.png"></div>
<pre>
def f():
    return 1 &lt; 2
</pre>
x < y &amp z <p>end
"""


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
        for link in (unit.heading, unit.header, unit.signature):
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
    assert units[by_text["1 | 2"].header or 0] is by_text["n | s"]
    assert units[by_text["return 1 < 2"].signature or 0] is by_text["def f():"]
    assert units[by_text["inner"].heading or 0] is by_text["Sub"]
    assert units[by_text["Sub"].heading or 0] is by_text["Top"]
    assert units[by_text["Top"].heading or 0] is by_text["My & page"]


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


class Balance(HTMLParser):
    """Each closing tag must close the last open one that is not void."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in self.open
        while self.open.pop() != tag:
            pass


def test_html_of_what_is_kept_is_balanced() -> None:
    units = split_html(PAGE)
    kept = [(unit.start, unit.end) for unit in units if (unit.text or "").strip() in {"One bold.", "1 | 2", "d", "Sub"}]
    pruned = prune_html(PAGE, kept)
    assert pruned == (
        "<html><body><p>One <b>bold. </b></p><ul><li><ul><li>d</ul></ul>"
        "<table><tr><td>1</td><td><p>2</p></td></tr></table><h2>Sub</h2>"
    )
    # which the source leaves open, too
    assert Balance(pruned).open == ["html", "body"]
    assert '<p class="x">One' in prune_html(PAGE, kept, attributes=True)
    assert prune_html(PAGE, []) == ""
    with pytest.raises(ValueError, match="spans in order and within"):
        prune_html(PAGE, [(5, 9), (3, 4)])


def test_pruning_a_page_drops_its_markup_and_scores_what_a_reader_sees() -> None:
    pruner = ContextPruner("bm25", splitter=split_html)
    page = "<div class='mdash'><p>The dome &mdash; by Brunelleschi.</p><script>dome()</script><p>Nothing.</p></div>"
    result = pruner.prune("Who built the dome?", [page], top_k=50)
    assert result.documents[0].text == "The dome &mdash; by Brunelleschi.Nothing."
    assert pruner.prune("mdash class script", [page], top_k=1).documents[0].text != ""
    for policy in (Policy(threshold=0.0), Policy(max_tokens=1000), Policy(threshold=0.9)):
        assert "<" not in pruner.prune("Who built the dome?", [page], policy).documents[0].text
    whole = pruner.prune("Who?", [page], Policy(threshold=1.0, empty="original"))
    assert whole.documents[0].text == page


def test_texts_are_for_readers_and_slices_are_the_source() -> None:
    document = SplitDocument(Document("<p>a &lt; b</p>"), tuple(split_html("<p>a &lt; b</p>")))
    assert document.texts == ["", "a < b\n", ""]
    assert document.slices == ["<p>", "a &lt; b", "</p>"]


PARTS = ["<p>", "</p>", "<b>", "</b>", "<li>", "<ul>", "</ul>", "<table>", "<tr>", "<td>", "</td>", "</table>", "<br>"]
PARTS += ["<pre>", "</pre>", "<h1>", "</h1>", "<script>", "</script>", "<style>", "<title>", "</title>", "<!--", "-->"]
PARTS += ["<a href='x>y'>", '<a "', "<", ">", "</", "&amp;", "&", "&#x41;", "&lt", "<p/>", "<![CDATA[", "<?php ?>"]
PARTS += [
    "One. ",
    "Two",
    " \n ",
    "e\u0301",
    "\u200d",
    "👩‍🚀",
    "\r\n",
    "\x00",
    "。天",
    "def f():\n",
    "<x-y z>",
    "<svg/>",
]
SOURCES = st.one_of(st.lists(st.sampled_from(PARTS), max_size=40).map("".join), st.text(max_size=200))


@settings(max_examples=400, deadline=None)
@given(source=SOURCES, limit=st.sampled_from([7, 1200]))
@example(source="</&Two</", limit=7)
@example(source="abcd &notit; efg &Twofold; &amp;lt; &#0; &", limit=7)
def test_any_source_is_partitioned_and_every_visible_character_is_in_its_unit(source: str, limit: int) -> None:
    assert "".join(source[token.start : token.end] for token in tokens(source)) == source
    units = split_html(source, limit)
    check_partition(source, units)
    for unit in units:
        if unit.kind != "markup":
            # what a reader sees of a unit is in its slice: without tags and spelled out
            seen = re.sub(r"\s+|\|", "", unit.text or "")
            bare = re.sub(r"\s+|\|", "", html.unescape(source[unit.start : unit.end]))
            place = -1
            for character in seen:
                place = bare.find(character, place + 1)
                assert place >= 0 or character == "\ufffd"


@settings(max_examples=400, deadline=None)
@given(source=SOURCES, data=st.data())
def test_what_is_kept_of_any_source_is_balanced_and_verbatim(source: str, data: st.DataObject) -> None:
    units = split_html(source)
    kept = [(unit.start, unit.end) for unit in units if data.draw(st.booleans()) and unit.kind != "markup"]
    pruned = prune_html(source, kept)
    names: list[str] = []
    for token in tokens(pruned):
        if token.kind == "open" and token.name not in VOID:
            names.append(token.name)
        elif token.kind == "close":
            assert token.name in names
            while names.pop() != token.name:
                pass
    # with attributes all that comes out stands in the source, in this order
    rest = iter(source.replace("&lt;", "<"))
    assert all(character in rest for character in prune_html(source, kept, attributes=True).replace("&lt;", "<"))
    visible = [
        "".join(unit.text or "" for unit in split_html(text))
        for text in (source, prune_html(source, [(0, len(source))]))
    ]
    assert "".join(visible[0].split()) == "".join(visible[1].split()) or "<" in visible[0]


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
    def seconds(n: int) -> float:
        source = piece * (n // len(piece)) + ('"' if '"' in piece else "")
        best = float("inf")
        gc.disable()
        try:
            for _ in range(2):
                started = time.process_time()
                units = split_html(source)
                prune_html(source, [(unit.start, unit.end) for unit in units[::2]])
                best = min(best, time.process_time() - started)
        finally:
            gc.enable()
        return best

    # four times the source in about four times the time; a quadratic rule would take sixteen times as long
    assert seconds(40_000) < 9 * seconds(10_000) + 0.1


@pytest.mark.parametrize("text", ["a \ud800 b", "<p>\udfff</p>"])
def test_half_a_surrogate_pair_is_refused_where_it_comes_in(text: str) -> None:
    with pytest.raises(ValueError, match="document 0 holds half of a surrogate pair at character"):
        ContextPruner("lead", splitter=split_html).prune("Who?", [text], top_k=1)


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
