"""HTML out of HTML is balanced and holds what is kept; a pruned page offers a reader's text, and the HTML of it."""

import json
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextpruner import ContextPruner, Document, Policy, Result, SplitDocument, split_html
from contextpruner.results.citations import cited, find_citations
from contextpruner.results.html_page import html_page
from contextpruner.results.terminal_view import print_result
from contextpruner.units.formats.html.serialize import prune_html
from contextpruner.units.formats.html.tokens import VOID, tokens
from tests.contextpruner.units.html_sources import PAGE, SOURCES

DOME = (
    "<title>Domes</title><div class='mdash'><p>The dome &mdash; <b>by</b> Brunelleschi.</p><script>dome()</script>"
    "<p>Nothing.<p hidden>The dome of nobody.</div>"
)


class Balance(HTMLParser):
    """Each closing tag closes the last open element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        # nothing but where a link leads
        assert not attrs or (tag, attrs) == ("a", [("href", "x>y")])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def pruned(policy: Policy, question: str = "Who built the dome?", page: str = DOME) -> Result:
    return ContextPruner("bm25").prune(question, [Document(page, format="html")], policy)


def test_html_of_what_is_kept_is_balanced() -> None:
    units = split_html(PAGE)
    kept = [(unit.start, unit.end) for unit in units if (unit.text or "").strip() in {"One bold.", "1 | 2", "d", "Sub"}]
    assert prune_html(PAGE, kept) == (
        "<html><body><p>One <b>bold. </b></p><ul><li><ul><li>d</li></ul></li></ul>"
        "<table><tr><td>1</td><td><p>2</p></td></tr></table><h2>Sub</h2></body></html>"
    )
    assert prune_html(PAGE, []) == ""
    with pytest.raises(ValueError, match="spans in order and within"):
        prune_html(PAGE, [(5, 9), (3, 4)])


def test_what_the_source_never_closes_is_closed_where_it_ends() -> None:
    source = "<DIV a=1><p>One<p>two<br><img src=x>three <b>four<table><tr><td>x<td>y<tr><td>z</div>tail"
    assert prune_html(source, [(0, len(source))]) == (
        "<div><p>One</p><p>two<br>three <b>four<table><tr><td>x</td><td>y</td></tr><tr><td>z</td></tr></table></b></p>"
        "</div>tail"
    )


def test_what_no_reader_sees_goes_though_it_stands_inside_what_is_kept() -> None:
    source = "<p>One <i hidden>two <b>three</b><br></i><!-- four --><script>five</script>six.</p>"
    (unit,) = (unit for unit in split_html(source) if unit.kind != "markup")
    assert unit.text == "One six.\n"
    assert prune_html(source, [(unit.start, unit.end)]) == "<p>One six.</p>"
    assert prune_html(source, [(0, len(source))]) == "<p>One six.</p>"


def test_a_pruned_page_is_a_reader_s_text_and_balanced_html() -> None:
    result = pruned(Policy(top_k=1))
    (document,) = result.documents
    assert document.format == "html"
    assert document.text == "Domes\nThe dome \N{EM DASH} by Brunelleschi.\n"
    assert document.html == "<title>Domes</title><div><p>The dome &mdash; <b>by</b> Brunelleschi.</p></div>"
    assert document.original == DOME
    slices = [DOME[span.start : span.end] for span in document.seen]
    assert slices == ["Domes", "The dome &mdash; <b>by</b> Brunelleschi.", "Nothing."]
    assert [span.path for span in document.seen] == ["title", "div/p", "div/p"]
    # counted as a reader reads
    assert document.n_characters_after == len(document.text)
    assert document.n_characters_before == len(document.text) + len("Nothing.\n")
    whole = pruned(Policy(threshold=1.0, empty="original")).documents[0]
    assert whole.text == document.text + "Nothing.\n"
    assert whole.n_characters_after == whole.n_characters_before
    assert whole.n_tokens_after == whole.n_tokens_before


def test_a_budget_counts_what_a_reader_sees() -> None:
    page = "".join(f"<p><a href='/dome-{n}' title='{'x' * 90}'>Dome {n}</a> &amp; dome.</p>" for n in range(9))
    pruner = ContextPruner("bm25", count_tokens=len)
    for budget in range(0, 60, 7):
        result = pruner.prune("dome", [Document(page, format="html")], max_tokens=budget)
        assert result.n_tokens_after == len(result.documents[0].text) <= budget
        assert result.n_tokens_after > budget - len("Dome 1 & dome.\n")


def test_markup_is_never_kept_for_its_own_sake() -> None:
    for policy in (Policy(threshold=0.0), Policy(max_tokens=1000), Policy(threshold=0.9), Policy(top_k=50)):
        document = pruned(policy, "mdash class script").documents[0]
        assert not any(span.kept for span in document.spans if span.kind == "markup")
        assert not set(document.text) & set("<>")


def test_json_has_the_text_of_what_is_kept_and_the_way_to_it() -> None:
    (document,) = json.loads(json.dumps(pruned(Policy(top_k=1)).to_dict()))["documents"]
    assert document["format"] == "html"
    assert document["html"].startswith("<title>Domes</title>")
    kept = [(span["label"], span["path"], span["text"]) for span in document["spans"] if span["kept"]]
    assert kept == [("1.2", "title", "Domes\n"), ("1.4", "div/p", "The dome \N{EM DASH} by Brunelleschi.\n")]
    assert all("text" not in span for span in document["spans"] if not span["kept"])


def test_citations_and_views_show_what_a_reader_sees() -> None:
    from io import StringIO

    from rich.console import Console

    result = pruned(Policy(top_k=1))
    assert cited(result) == "[1.2] Domes\n[1.4] The dome \N{EM DASH} by Brunelleschi."
    (found,) = find_citations(result, "By him [1.4].")
    assert DOME[found.start : found.end] == "The dome &mdash; <b>by</b> Brunelleschi."
    file = StringIO()
    print_result(result, Console(file=file, width=200))
    for page in (html_page(result), file.getvalue()):
        assert "The dome \N{EM DASH} by Brunelleschi." in page
        assert "2 of 3 units" in page
        assert "mdash;" not in page
        assert "nobody" not in page


def test_labelers_read_what_a_reader_sees() -> None:
    document = SplitDocument(Document("<p>a &lt; b</p>"), tuple(split_html("<p>a &lt; b</p>")))
    assert document.texts == ["", "a < b\n", ""]


@settings(max_examples=400, deadline=None)
@given(source=SOURCES, data=st.data())
def test_what_is_kept_of_any_source_is_balanced(source: str, data: st.DataObject) -> None:
    kept = [(unit.start, unit.end) for unit in split_html(source) if data.draw(st.booleans())]
    names: list[str] = []
    for token in tokens(prune_html(source, kept)):
        if token.kind == "open" and token.name not in VOID:
            names.append(token.name)
        elif token.kind == "close":
            assert names.pop() == token.name
    assert not names


TAGS = ["p", "b", "div", "li", "ul", "table", "tr", "td", "th", "h2", "a href='x>y'", "span hidden", "dl", "dt", "dd"]
CLEAN = st.lists(
    st.sampled_from([f"<{tag}>" for tag in TAGS] + [f"</{tag.split()[0]}>" for tag in TAGS] + ["<br>", "<!-- c -->"])
    | st.sampled_from(["One. ", "two", " \n", "&amp;", "\N{EM DASH}x", "e\u0301", "&fjlig;"]),
    max_size=40,
).map("".join)


@settings(max_examples=400, deadline=None)
@given(source=CLEAN, data=st.data())
def test_html_of_what_is_kept_reads_as_what_is_kept(source: str, data: st.DataObject) -> None:
    kept = [unit for unit in split_html(source) if unit.kind != "markup" and data.draw(st.booleans())]
    again = split_html(prune_html(source, [(unit.start, unit.end) for unit in kept]))
    read = ["".join("".join(unit.text or "" for unit in units).split()) for units in (again, kept)]
    # bars stand between the cells that are there, and targets behind all that is kept of their links
    bare = [text.replace("|", "").replace("(x>y)", "") for text in read]
    assert bare[0] == bare[1]
