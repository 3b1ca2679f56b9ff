"""What a unit of a page hangs on, what of a page nobody sees, and what is never cut apart."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextpruner import split_html
from contextpruner.units.formats.html.serialize import prune_html
from tests.contextpruner.stopwatch import seconds
from tests.contextpruner.units.html_sources import read_and_pruned


def linked(source: str, link: str) -> dict[str, str | None]:
    """Every unit's text, and that of the unit that `link` names."""
    units = split_html(source)
    texts = [(unit.text or "").strip() for unit in units]
    links = [unit.link(link) for unit in units]
    pairs = zip(texts, links, strict=True)
    return {text: None if at is None else texts[at] for text, at in pairs if text}


def seen(source: str) -> str:
    return "".join(unit.text or "" for unit in split_html(source)).strip()


def test_a_heading_holds_up_to_the_end_of_its_section() -> None:
    page = (
        "<title>T</title><nav><h2>Menu</h2><a>Go</a></nav><header><h1>A</h1></header><p>a</p>"
        "<section><h2>B</h2><p>b</p><aside><h3>Also</h3>also</aside><p>b2</p><h3>C</h3>c</section><p>a2</p><h2>D</h2>d"
    )
    assert linked(page, "heading") == {
        **{"T": None, "Menu": "T", "Go": "Menu", "A": "T", "a": "A", "B": "A", "b": "B", "Also": "B", "also": "Also"},
        **{"b2": "B", "C": "B", "c": "C", "a2": "A", "D": "A", "d": "D"},
    }


def test_a_heading_is_one_unit_whatever_is_in_it() -> None:
    page = "<h2>One<br><div>two</div> <a href=#>#</a></h2>text<h4>x</h4>y<h2>z</h2>"
    assert linked(page, "heading") == {
        "One two #": None,
        "text": "One two #",
        "x": "One two #",
        "y": "x",
        "z": None,
    }


def test_rows_hang_on_the_head_of_their_table() -> None:
    table = (
        "<table><caption>Sales</caption><thead><tr><td>A<td>B<tr><td>a1<td>b1</thead><tbody><tr><td>1<td>2"
        "<tr><th colspan=2>Part<tr><td>3<td>4<tr><th colspan=2>Rest<tr><th>5<td>6</table>after"
    )
    assert linked(table, "header") == {
        **{"Sales": None, "A | B": None, "a1 | b1": "A | B", "1 | 2": "a1 | b1", "Part": "a1 | b1"},
        **{"3 | 4": "Part", "Rest": "a1 | b1", "5 | 6": "Rest", "after": None},
    }
    assert set(linked(table, "caption").items()) == {
        *{("Sales", None), ("after", None)},
        *((row, "Sales") for row in ("A | B", "a1 | b1", "1 | 2", "Part", "3 | 4", "Rest", "5 | 6")),
    }


def test_a_table_without_a_head_has_its_first_row_for_one() -> None:
    assert linked("<table><tr><td>n<td>m<tr><td>1<td>2<tr><td>3<td>4</table>", "header") == {
        "n | m": None,
        "1 | 2": "n | m",
        "3 | 4": "n | m",
    }
    rows = "".join(f"<tr><th>{n}</th></tr>" for n in range(6))
    assert linked(f"<table>{rows}</table>", "header") == {
        **{"0": None, "1": "0", "2": "1"},
        **dict.fromkeys("345", "2"),
    }


def test_tables_in_tables_keep_their_own_heads() -> None:
    inner = "<table><tr><th>in</th></tr><tr><td>x</td></tr></table>"
    page = f"<table><tr><th>out</th></tr><tr><td>a {inner} b</td></tr><tr><td>z</td></tr></table>"
    assert linked(page, "header") == {"out": None, "a": "out", "in": None, "x": "in", "b": "out", "z": "out"}


def test_what_a_term_means_hangs_on_the_term() -> None:
    page = "<dl><dt>T<dt>U<dd>D<dd>E<dl><dt>i<dd>j</dl><dt>V<dd>W</dl><dl><dd>alone</dl>"
    assert linked(page, "header") == {
        **{"T": None, "U": "T", "D": "U", "E": "U", "i": None, "j": "i", "V": None, "W": "V", "alone": None},
    }


def test_cells_and_their_paragraphs_stay_apart() -> None:
    page = "<table><tr><td>a<br>b</td><td><p>c</p><p>d</p></td></tr></table>"
    assert seen(page) == "a b | c d"
    code = "<table><tr><td><pre>1\n2</pre></td><td><pre>def f():\n    x = 1</pre></td></tr></table>"
    assert linked(code, "signature") == {"1": None, "2": None, "def f():": None, "x = 1": "def f():"}
    # a row is as long as its text, whatever its links are
    links = "".join(f"<td><a href='{'x' * 300}'>w{n}</a></td>" for n in range(4))
    assert seen(f"<table><tr>{links}</tr></table>") == "w0 | w1 | w2 | w3"


@pytest.mark.parametrize(
    "hidden",
    [
        "<p hidden>x</p>",
        "<P HIDDEN=''>x</P>",
        "<p hidden>x<select><option>y</select><textarea>z</textarea></p>",
        "<div hidden='hidden'><p>x<div>y</div></div>",
        "<p style='color: red; DISPLAY : none !important'>x</p>",
        '<p style="visibility:hidden">x</p>',
        "<p style=display:none>x</p>",
        "<tr style='visibility: collapse'><td>x</td></tr>",
        "<template><p>x</p><template>y</template>z</template>",
        "<noscript><p>x</p></noscript>",
        "<script>if (a < b) x('<p>y</p>')</script>",
        "<style>x</style>",
        "<svg><svg><text>x</text></svg><title>y</title></svg>",
        "<svg/>",
        "<svg><foreignObject><p>x</p></foreignObject></svg>",
        "<!-- <p>x</p> -->",
        "<dialog>x</dialog>",
        "<datalist><option>x</datalist>",
        "<video><p>x</p></video>",
        "<iframe>x</iframe>",
        "<img src='x' title='y' alt=''>",
        "<input value=x>",
        "<?php x ?>",
        "<![CDATA[x]]>",
        "<math><semantics><annotation encoding='TeX'>x</annotation></semantics></math>",
        "<div hidden='>' title='a>b'>x</div>",
    ],
)
def test_what_no_reader_sees_is_in_no_unit(hidden: str) -> None:
    page = f"<div>One {hidden}two.</div><div>Three.</div>"
    assert seen(page).replace("\n", " ").split() == ["One", "two.", "Three."]
    assert seen(prune_html(page, [(0, len(page))])).split() == ["One", "two.", "Three."]


@pytest.mark.parametrize(
    "shown",
    [
        "<body hidden>{}</body>",
        "<html style='visibility: hidden'><p>{}</p></html>",
        "<p hidden=until-found>{}</p>",
        "<p aria-hidden=true>{}</p>",
        "<p class=hidden title='is hidden' data-hidden>{}</p>",
        "<p title='display:none' style='x-display:none;display:nonesuch'>{}</p>",
        "<dialog open>{}</dialog>",
        "<details><summary>{}</summary></details>",
        "<textarea>{}</textarea>",
        "<math><mi>{}</mi></math>",
        "<style/>{}",
        "<svg><path d=x><p>{}",
        "<!-->{}<!--->",
        "<b>{}</b></><a href='x",
        "{}<script>if (a < b) x('<p>y</p>')",
        "{}<noscript><p>x",
        "{}<!-- x <p>y</p>",
        "{}<p title=x",
        "{}<?php x",
        "{}</ x>",
        "<p hidden/>{}",
        "<del>{}</del>",
        "<p id='a>b'>{}",
        "<P\r\nCLASS=x\r\n>{}</P\r\n>",
    ],
)
def test_what_a_reader_sees_is_in_a_unit(shown: str) -> None:
    assert seen(shown.format("Word one.")) == "Word one."


@pytest.mark.parametrize("entity", ["&fjlig;", "&NotEqualTilde;", "&bne;", "&ThickSpace;", "&amp;", "&#128105;"])
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_an_entity_is_never_cut_apart(entity: str, limit: int) -> None:
    source = f"<p>ab{entity}cd {entity}{entity} e</p>"
    units = split_html(source, limit)
    assert "".join(source[unit.start : unit.end] for unit in units) == source
    for unit in units:
        if unit.kind != "markup":
            # spelled out again the slice is the text, so each entity is whole
            assert seen(f"<pre>{source[unit.start : unit.end]}</pre>").split() == (unit.text or "").split()


def test_white_space_is_one_space_and_blank_paragraphs_are_none() -> None:
    assert seen("<p>One <b>  two</b> \n <i>\tthree</i> <u> \n</u> four</p>") == "One two three four"
    assert seen("<p>&nbsp;</p><p>\u200b</p><h2> &#160; </h2>x") == "x"
    assert seen("<pre>a  b\r\n\r\n  c</pre>") == "a  b\r\n\r\n  c"


def test_deep_and_broken_pages_are_read_in_linear_time() -> None:
    n = 100 * sys.getrecursionlimit()
    assert "x" in seen("<div>" * n + "x" + "</div>" * n)
    for one in ("<div>", "<table><tr><td>", "<ul><li>", "<section><h2>x</h2>", "<dl><dt>t<dd>", "<p hidden>"):
        small, large = (seconds(read_and_pruned, one * (size // len(one)) + "x") for size in (10_000, 40_000))
        assert large < 9 * small + 0.1, one
    assert seconds(read_and_pruned, f"<p title='{'x > ' * 100_000}' style='{'a:b;' * 50_000}display:none'>x</p>y") < 2


ELEMENTS = ["div", "section", "table", "thead", "tr", "td", "th", "ul", "li", "dl", "p", "pre", "b", "span", "h3"]
NESTED = st.recursive(
    st.sampled_from(["one. ", "two ", "<br>", "&amp;", "<h2>h</h2>", "<tr><th>k<td>v", "<dt>t<dd>d", "<img>"]),
    lambda inside: st.builds(
        lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>",
        st.sampled_from(ELEMENTS),
        st.lists(inside, max_size=5),
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(page=NESTED)
def test_links_of_nested_elements_lead_back(page: str) -> None:
    units = split_html(page)
    for index, unit in enumerate(units):
        for link in (unit.link("heading"), unit.link("header"), unit.link("signature")):
            assert link is None or (link < index and units[link].kind != "markup")
        assert unit.link("heading") is None or units[unit.link("heading")].kind == "heading"
        assert unit.link("header") is None or units[unit.link("header")].kind in ("table_row", "list_item", "sentence")
