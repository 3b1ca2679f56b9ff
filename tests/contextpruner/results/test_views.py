"""The views: kept and dropped told apart without colour, counts right, and no document in control of them."""

import dataclasses
import io
import re
from html.parser import HTMLParser

from rich.console import Console

from contextpruner import ContextPruner, Policy, Result
from contextpruner.results.html_page import html_page
from contextpruner.results.terminal_view import print_result
from prunekernels.io.escape import printable

EVIL = "<script>alert('x')</script> & \"quotes\". \x1b[31mRed \x07\x00bell\u202e. The dome's <b>end</b>."


def result(policy: Policy | None = None, question: str = "Tall <b>dome</b>?") -> Result:
    documents = [
        {"id": "<i>1</i>", "title": "</title><script>", "text": EVIL},
        {"id": 2, "text": "Bread is baked. The dome is tall."},
        "",
    ]
    return ContextPruner("bm25").prune(question, documents, policy or Policy(top_k=1))


def terminal(details: bool = False, color: bool = True) -> str:
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=color, width=200, highlight=False, color_system="standard" if color else None
    )
    print_result(result(), console, details)
    return file.getvalue()


class Page(HTMLParser):
    """Tags, and the text inside each kind of tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.texts: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag] = self.texts.get(tag, "") + data


def test_the_page_is_whole_escaped_and_self_contained() -> None:
    page = html_page(result())
    parsed = Page(page)
    assert parsed.open == []
    assert not {"script", "b", "i"} - {"i"} & set(parsed.tags)
    assert parsed.tags.count("i") == 1
    assert not re.search(r"(src|href|url|@import)\s*[=(]", page)
    assert parsed.texts["h1"] == "Tall <b>dome</b>?"
    assert "</title><script>" in parsed.texts["h2"]
    assert "\x1b" not in page
    assert "\x00" not in page
    assert "\u202e" not in page


def test_the_page_says_first_that_nothing_runs_and_nothing_is_fetched() -> None:
    head = html_page(result()).partition("<head>")[2]
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', head)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "script" not in policy[1]
    # what stands before a policy is not bound by it
    assert re.findall(r"<(?!meta)", head[: policy.start()]) == []


def test_names_and_reasons_from_elsewhere_steer_no_terminal() -> None:
    shown = result()
    evil = "\x1b]0;owned\x07\nnext\u202e"
    first = dataclasses.replace(shown.documents[0], id=evil, title=f"T{evil}")
    hostile = dataclasses.replace(shown, labeler=f"bm25{evil}", documents=(first,), question=evil)
    file = io.StringIO()
    print_result(hostile, Console(file=file, width=200, highlight=False), details=True)
    page = html_page(hostile)
    for text in (file.getvalue(), page):
        assert not set("\x1b\x07\u202e") & set(text)
    assert "\nnext" not in file.getvalue().partition("Question")[2].partition("\n")[2].replace("\n\n", "")


def test_the_page_holds_all_of_the_text_and_marks_what_is_kept() -> None:
    shown = result()
    parsed = Page(html_page(shown))
    for document in shown.documents:
        for line in printable(document.original).splitlines():
            assert line in parsed.texts["main"]
    kept = "".join(document.text.rstrip() for document in shown.documents)
    assert parsed.texts["mark"] == "kept" + printable(kept)
    assert "Bread is baked." in parsed.texts["del"]
    assert "This document is empty." in parsed.texts["main"]
    assert "width=device-width" in html_page(shown)
    assert "prefers-color-scheme: dark" in parsed.texts["style"]


def test_the_terminal_tells_kept_from_dropped() -> None:
    coloured = terminal() + terminal(details=True)
    assert "\x1b[32mThe dome is tall.\x1b[0m" in coloured
    assert "\x1b[2;9mBread is baked.\x1b[0m" in coloured
    # no escape but our own styles
    assert not re.sub(r"\x1b\[[0-9;]*m", "", coloured).count("\x1b")
    assert "\x1b[31m" not in coloured
    assert "␛[31mRed" in coloured
    assert "\x07" not in coloured
    assert "\u202e" not in coloured


def test_the_header_and_the_details_carry_the_numbers() -> None:
    plain = terminal(color=False)
    assert re.search(r"2  2   score 0\.\d\d   kept 52 %, 1 of 2 units", plain)
    assert re.search(r"3  document 3   score 0\.00   kept 0 %, empty\n", plain)
    assert re.search(r"kept 17 of \d+ characters", plain)
    details = terminal(details=True, color=False)
    assert re.search(r"\+ 0\.\d\d top_k +The dome is tall\.", details)
    assert re.search(r"- 0\.00 irrelevant +Bread is baked\.", details)


def test_what_is_shown_can_be_cited() -> None:
    shown = result()
    page = html_page(shown)
    tips = re.findall(r'title="\[(\d+\.\d+)\] · (\d\.\d{3}) · ([a-z ]+) · characters (\d+) to (\d+)', page)
    wanted = [
        (f"{number}.{place}", f"{span.probability:.3f}", span.reason.replace("_", " "), str(span.start), str(span.end))
        for number, document in enumerate(shown.documents, 1)
        for place, span in enumerate(document.spans, 1)
    ]
    assert tips == wanted
    assert [int(number) for number in re.findall(r'<span class="number">(\d+)</span>', page)] == [1, 2, 3]
    # a title does not hide the id
    assert "&lt;i&gt;1&lt;/i&gt; · score" in page
    assert "</title><script>   <i>1</i>   score" in terminal(color=False)


def test_an_id_that_is_the_title_is_shown_once() -> None:
    shown = ContextPruner("bm25").prune("dome", [{"id": "Domes", "title": "Domes", "text": "A dome."}], top_k=1)
    file = io.StringIO()
    print_result(shown, Console(file=file, width=100))
    assert file.getvalue().count("Domes") == html_page(shown).count("Domes") == 1


def test_documents_of_which_nothing_is_kept_take_one_line() -> None:
    texts = ["Bread. Milk."] * 3 + ["The dome."] + ["Bread. Milk."] * 2
    shown = ContextPruner("bm25").prune("dome", texts, top_k=1)
    file = io.StringIO()
    print_result(shown, Console(file=file, width=100))
    lines = file.getvalue().splitlines()
    assert [line[:1] for line in lines] == ["Q", "", "1", "2", "3", "", "4", "T", "", "5", "6", "", "k"]
    assert html_page(shown).count('<article class="none-kept">') == 5


def test_code_and_tables_stand_in_columns_and_lines_are_struck_without_their_indentation() -> None:
    text = "# H\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\nif x:\n    dome()\n```\n"
    page = html_page(ContextPruner("bm25").prune("zebra", [text], Policy(threshold=1, empty="empty")))
    assert page.count('<span class="drop mono">') == 6
    assert page.count('<span class="drop heading">') == 1
    assert re.search(r'<span class="drop mono">    <del [^>]*>dome\(\)</del>\n</span>', page)


def test_a_long_name_hides_no_number() -> None:
    document = {"id": "/".join(["folder"] * 40), "text": "The dome."}
    file = io.StringIO()
    print_result(ContextPruner("bm25").prune("dome", [document], top_k=1), Console(file=file, width=60))
    assert "1 of 1 units" in " ".join(file.getvalue().split())
