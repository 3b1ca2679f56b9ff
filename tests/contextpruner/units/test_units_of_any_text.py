"""Units of any text in any format partition it, in linear time; what can be no text is refused."""

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contextpruner import ContextPruner, Document, split, split_code, split_html
from contextpruner.documents.format_detection import FORMATS, Format, is_code
from contextpruner.units.formats.html.tokens import tokens
from contextpruner.units.join import join_kept
from contextpruner.units.line_breaks import line_ends
from contextpruner.units.split import split_format
from tests.contextpruner.stopwatch import seconds

ODD = [
    "e\u0301",
    "\u0301",
    "\u200d",
    "👩‍🚀",
    "🇫🇷",
    "👍🏽",
    "\r\n",
    "\r",
    "\x00",
    "\x0b",
    "\x85",
    "\u2028",
    "\ufeff",
    "\u202e",
]
ODD += ["\U000e0041", "\u0e01\u0e33", "天。", "।", "ﷺ", "ß", "İ", "ﬁ", "2½", "\u00a0", "\ud7ff", "\ue000", "\U0010ffff"]
MARKS = [
    "# ",
    "```\n",
    "| a | b |\n",
    "|---|\n",
    "- ",
    "<p>",
    "</p>",
    "<pre>",
    "<td>",
    "&amp;",
    "&bne;",
    "<b a='",
    "<!--",
    ">",
]
MARKS += [
    "def f(",
    "):\n    ",
    "{\n",
    "}\n",
    "@x\n",
    "One. ",
    "two\n",
    "\n\n",
    "\t",
    "x = 1\n",
    "</",
    "&#x301;",
    "<script>",
]
TEXTS = st.one_of(st.text(max_size=120), st.lists(st.sampled_from(ODD + MARKS), max_size=40).map("".join))


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, format_=st.sampled_from(FORMATS), limit=st.sampled_from([1, 5, 1200]))
@example(text="&bne;", format_="html", limit=1)
def test_units_of_any_text_in_any_format_partition_it(text: str, format_: Format, limit: int) -> None:
    found = split_format(text, format_, limit)
    assert "".join(text[unit.start : unit.end] for unit in found) == text
    assert [unit.start for unit in found[1:]] == [unit.end for unit in found[:-1]]
    assert all(unit.start < unit.end for unit in found)
    assert found == split_format(text, format_, limit)
    # what follows an edge is no part of the character before it; at the head of a line a mark stands for itself
    for unit in found[1:] if format_ != "html" and limit == 1200 else ():
        mark = unicodedata.category(text[unit.start])[0] == "M"
        assert not mark or text[unit.start - 1] in "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
        assert text[unit.start - 1 : unit.start + 1] != "\r\n"


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(st.tuples(TEXTS, st.sampled_from(FORMATS)), min_size=1, max_size=3), budget=st.integers(0, 60))
def test_documents_of_all_formats_are_pruned_together(texts: list[tuple[str, Format]], budget: int) -> None:
    documents = [Document(text, format=format_) for text, format_ in texts]
    pruner = ContextPruner("bm25", count_tokens=len)
    for rule in ({"max_tokens": budget}, {"threshold": 0.0}):
        result = pruner.prune("one two", documents, **rule)  # type: ignore[arg-type]
        for document, found in zip(documents, result.documents, strict=True):
            assert "".join(document.text[span.start : span.end] for span in found.spans) == document.text
            if found.html is None:
                slices = [document.text[span.start : span.end] for span in found.spans]
                assert found.text == join_kept(slices, [span.kept for span in found.spans])
            # taken alone a page gives the same, whatever stood beside it
            if "threshold" in rule:
                assert found.text == pruner.prune("one two", [document], **rule).documents[0].text  # type: ignore[arg-type]
        assert "max_tokens" not in rule or result.n_tokens_after == sum(len(item.text) for item in result.documents)
        assert "max_tokens" not in rule or result.n_tokens_after <= budget


@pytest.mark.parametrize("cut", [split, split_code, split_html])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a \ud800 b", "the text holds half of a surrogate pair at character 2"),
        ("<p title='\udfff'>", "the text holds half of a surrogate pair at character 10"),
        (None, "the text wants a string, got NoneType"),
        (b"a", "the text wants a string, got bytes"),
    ],
)
def test_what_is_no_text_is_refused(cut: Callable[[object], object], text: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cut(text)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("field", ["text", "title", "id"])
def test_half_a_surrogate_pair_is_refused_where_it_comes_in(format_: Format, field: str) -> None:
    fields = {"text": "a", field: "ab\ud83d"}
    with pytest.raises(ValueError, match=f"document 1: {field} holds half of a surrogate pair at character 2"):
        ContextPruner("lead").prune("Who?", ["a", {**fields, "format": format_}], top_k=1)


HARD = [
    "x",
    "(",
    "def f(",
    "@a(",
    "[A(",
    "template <",
    "pub(",
    "a ",
    "(\n",
    "{\n",
    "  x\n",
    "\r",
    "def f():\n",
    "def f(\n",
    "@dec\n",
]
HARD += [
    "a = (",
    "public static ",
    "a<b ",
    "* ",
    "a,\n",
    "a b\n",
    "天\n",
    "e\u0301",
    '"a": ',
    "a[",
    "= a",
    "if x:",
    "]};\n",
]
CUTS: dict[str, Callable[[str], object]] = {
    "split_code": split_code,
    "is_code": lambda text: is_code("x\n" + text),
    "line_breaks": lambda text: line_ends(text, 0, len(text)),
    "pre": lambda text: split_html("<pre>" + text),
    "tokens": lambda text: list(tokens("<" + text)),
}


@pytest.mark.parametrize("name", CUTS)
def test_time_is_linear_on_hard_texts(name: str) -> None:
    for piece in HARD:
        # four times the text in about four times the time; a quadratic rule would take sixteen times as long
        small, large = (seconds(CUTS[name], piece * (size // len(piece))) for size in (10_000, 40_000))
        assert large < 9 * small + 0.05, piece
