"""The page at `/` in Chromium, from a server that wants a key: with a mouse, with keys alone, and with hostile text."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.contextpruner.integrations.served import KEPT, QUESTION, TEXT
from tests.contextpruner.integrations.started_server import started_server

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: requirements/test.txt has it")
expect = sync_api.expect
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium")

MOST_BYTES = 60_000
BREAD = "Bread is baked from flour."
MARKUP = """</textarea></p><script>document.title = "owned"</script><img src="/x" onerror="document.title = 'owned'">"""
HEBREW = "הכיפה תוכננה על ידי ברונלסקי. \u200fהלחם נאפה מקמח (463)."
LONG = "engineered" * 400
SIGNS = "穹顶 👩\u200d👩\u200d👧 e\u0301"


@dataclass
class Person:
    """A page, and what it did that it must not: dialogs, requests to elsewhere, errors of scripts."""

    page: sync_api.Page
    address: str
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(60_000)
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog {dialog.message}"))
        self.page.on("pageerror", lambda error: self.wrong.append(f"script {error}"))
        self.page.on("request", self._note)

    def _note(self, request: sync_api.Request) -> None:
        if not request.is_navigation_request() and not request.url.startswith("data:"):
            self.wrong.append(f"request {request.url}")

    def ask(self, question: str, documents: str, key: str = "a-key") -> None:
        """Fill in the form and press the button."""
        self.box("Question").fill(question)
        self.box("Documents").fill(documents)
        self.page.get_by_label("API key").fill(key)
        with self.page.expect_navigation():
            self.page.get_by_role("button", name="Prune").click()

    def box(self, name: str) -> sync_api.Locator:
        return self.page.get_by_role("textbox", name=name)

    def focused(self) -> str:
        """What has the focus, by its name, kind or id."""
        return str(self.page.evaluate("(e => e.name || e.id || e.className || e.localName)(document.activeElement)"))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started_server(tmp_path_factory.mktemp("page"), "--max-body", str(MOST_BYTES)) as (_, port):
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture
def person(browser: sync_api.Browser, address: str) -> Iterator[Person]:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    found = Person(context.new_page(), address)
    found.page.goto(address)
    yield found
    assert found.wrong == []
    context.close()


def test_a_person_sees_what_is_kept_and_why(person: Person) -> None:
    page = person.page
    person.ask(QUESTION, f"{TEXT}\n---\n{BREAD}")
    expect(page.locator("article h2")).to_have_text(["Document 1", "Document 2"])
    expect(page.locator("article mark")).to_have_text([KEPT.strip()])
    expect(page.locator("article del")).to_have_text(["It rains in May.", BREAD])
    # the answer is what is read next, by eyes and by a screen reader
    assert person.focused() == "result"
    expect(page.get_by_role("heading", name=QUESTION)).to_be_in_viewport()
    # a touch screen has no tooltips
    rows = page.locator("article").first.locator("tbody tr")
    expect(rows.first).to_be_hidden()
    page.get_by_text("why, unit by unit").first.click()
    expect(rows.first).to_be_visible()
    expect(rows).to_have_text([re.compile(r"1\.1[01]\.\d{3}kept: .*The dome"), re.compile("1.2.*dropped: .*It rains")])
    page.get_by_label("kept text only").check()
    expect(page.get_by_text(BREAD).last).to_be_hidden()
    expect(page.locator("article mark")).to_be_visible()
    # what was typed is there to be asked again
    expect(person.box("Question")).to_have_value(QUESTION)


def test_hostile_text_is_shown_as_text(person: Person) -> None:
    page = person.page
    mixed = f"{LONG} {SIGNS}"
    documents = "\n---\n".join([f"{MARKUP} The dome.", HEBREW, f"{mixed} \u202edesrever\u202c \x07", "Stone. " * 3000])
    person.ask(f"מי? {MARKUP}", documents)
    assert page.title() == "contextpruner"
    assert page.locator("script, img, article b").count() == 0
    shown = page.locator("article .text")
    expect(shown.nth(0)).to_contain_text(MARKUP)
    expect(shown.nth(2)).to_contain_text(mixed)
    assert not set("\u202e\x07") & set(shown.nth(2).inner_text())
    # right to left by what is written, and no line wider than the screen
    assert page.locator("h1").evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert person.box("Question").evaluate("e => getComputedStyle(e).direction") == "rtl"
    edges = shown.nth(1).evaluate(
        "e => { const r = document.createRange(); r.selectNodeContents(e); const b = e.getBoundingClientRect();"
        " const t = r.getClientRects()[0]; return [t.left - b.left, b.right - t.right] }"
    )
    assert edges[0] > edges[1]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # asked again as it came, direction marks and all
    expect(person.box("Documents")).to_have_value(documents)
    # were something not escaped, the policy would still hold
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))")
    assert page.evaluate("window.ran") is None


def test_an_error_is_shown_and_nothing_is_lost(person: Person) -> None:
    page = person.page
    person.ask(QUESTION, TEXT, key="another")
    expect(page.get_by_role("alert")).to_have_text("This server wants an API key.")
    page.get_by_label("What is kept").select_option("threshold")
    person.ask(QUESTION, TEXT)
    alert = page.get_by_role("alert")
    expect(alert).to_have_text("Want a number for “probability of at least”, got ''.")
    expect(alert).to_be_in_viewport()
    expect(person.box("Documents")).to_have_value(TEXT)
    person.ask("  ", TEXT)
    expect(alert).to_contain_text("got ''")
    person.box("Number").fill("7")
    person.ask(QUESTION, TEXT)
    expect(alert).to_have_text("threshold wants a number in [0, 1], got 7.0")


def test_what_is_too_large_is_a_page_too_and_not_lost(person: Person) -> None:
    page = person.page
    person.ask(QUESTION, "b" * (MOST_BYTES + 1))
    expect(page.get_by_role("alert")).to_contain_text(f"want a body of at most {MOST_BYTES} bytes")
    page.go_back()
    expect(person.box("Question")).to_have_value(QUESTION)
    assert len(person.box("Documents").input_value()) > MOST_BYTES


def test_keys_alone_are_enough(person: Person) -> None:
    page = person.page
    wanted = {"question": QUESTION, "documents": TEXT, "format": None, "rule": "best", "value": "1", "key": "a-key"}
    for name, text in wanted.items():
        page.keyboard.press("Tab")
        assert person.focused() == name
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        if text is not None and name != "rule":
            page.keyboard.press("ControlOrMeta+a")
        if text is not None:
            page.keyboard.type(text)
    page.keyboard.press("Tab")
    assert person.focused() == "button"
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.locator("dd", has_text="top_k = 1")).to_be_visible()
    expect(page.locator("article mark")).to_have_text([KEPT.strip()])
    page.keyboard.press("Tab")
    assert person.focused() == "only-kept"
    page.keyboard.press("Space")
    expect(page.locator("article del")).to_be_hidden()
    page.keyboard.press("Tab")
    assert person.focused() == "summary"
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr.keep")).to_be_visible()
