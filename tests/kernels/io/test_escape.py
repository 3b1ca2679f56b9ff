"""Hostile text is shown and not obeyed: in terminals, in HTML, in Markdown."""

import html.parser
import re
import unicodedata

import pytest
from markdown_it import MarkdownIt

from prunekernels.io.escape import (
    CONTENT_SECURITY_POLICY,
    POLICY_TAG,
    html_text,
    markdown_code,
    markdown_text,
    one_line,
    printable,
)

HOSTILE = [
    "</code><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='x", "a & b &lt; c",
    "\x1b[2J\x1b]0;owned\x07", "\x9b31m", "safe\u202egnp.exe", "\u2066x\u2069", "ad\u200bmin", "ad\u200dmin",
    "a\u2028b\u2029c", "\U000e0041\U000e007f", "\ufeffx\u00ad", "\ud800", "a\rb", "a\r\nb\n\nc\td", "\0", "\x7f",
    "| a | b |", "`code` ``x``", "[x](javascript:alert(1))", "![x](http://e/x.png)", "<http://e>", "www.e.com",
    "https://e/x", "me@e.com", "# head", "1. list", "- [ ] x", "***", "---", "| --- |", "~~x~~", "$x$", "\\", "\\|",
    "[^1]", "setext\n===", "    code", "> quote", "```\nfence", "&#60;b&#62;", ":smile:", "<!-- x", "a  \nb", "``", "`",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_steers_a_terminal(text: str) -> None:
    for shown in (printable(text), one_line(text)):
        bad = [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\n\t"]
        assert not bad
        shown.encode()
    assert "\n" not in one_line(text)
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    "text", ["plain text\n\tin lines", "größe 深圳 ümlaut", "👩\u200d🔬", "می\u200cخواهم", "é", "2½ € – “x” …"]
)
def test_text_of_people_stays(text: str) -> None:
    assert printable(text) == text


def test_what_is_shown_instead() -> None:
    assert printable("\x1b[0m\x07\x7f\x9b\u202e\u200b") == "␛[0m␇␡\ufffd\ufffd\ufffd"
    assert one_line("  a\n\tb  c ") == "a b c"
    assert one_line("x" * 50, most=10) == "x" * 9 + "…"
    assert one_line(" " * 10_000 + "x", most=10) == "…"


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("text", HOSTILE)
def test_html_is_text_and_attributes_end_where_they_should(text: str) -> None:
    for quote in "\"'":
        page = Page(f"<p title={quote}{html_text(text)}{quote}>{html_text(text)}</p>")
        assert page.tags == [("p", [("title", printable(text))])]
        assert page.text == printable(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_is_one_cell_of_plain_text(text: str) -> None:
    render = MarkdownIt("gfm-like", {"linkify": False}).render
    table = f"| a | b |\n| --- | --- |\n| {markdown_text(text)} | {markdown_code(text)} |\n"
    page = Page(render(table))
    assert [tag for tag, _ in page.tags] == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td", "code"]
    assert [part.strip() for part in page.text.split("\n") if part.strip()][2:] == [
        part for part in (one_line(text), one_line(text)) if part
    ]
    line = Page(render(f"x {markdown_text(text)} y {markdown_code(text)}\n"))
    assert [tag for tag, _ in line.tags] == ["p", "code"]
    # nor is it a heading, list, quote or rule at the beginning of a line
    assert [tag for tag, _ in Page(render(f"{markdown_text(text)}\n")).tags] in (["p"], [])


@pytest.mark.parametrize("text", ["https://e/x", "www.e.com", "me@e.com", "http://e", "ftp://e.com/x"])
def test_bare_addresses_are_no_links(text: str) -> None:
    # what is told from the letters alone is broken by a backslash within
    assert not re.search(r"://|www\.|\w@\w|\w\.com", markdown_text(text))


def test_the_policy_forbids_scripts_and_fetching() -> None:
    rules = dict(rule.split(" ", 1) for rule in CONTENT_SECURITY_POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert "script-src" not in rules
    (tag,) = Page(POLICY_TAG).tags
    assert tag == ("meta", [("http-equiv", "Content-Security-Policy"), ("content", CONTENT_SECURITY_POLICY)])
