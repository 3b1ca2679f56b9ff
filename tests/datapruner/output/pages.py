"""What a page of ours may hold."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Tags that stand open at the end, every tag with its attributes, and the text of the page."""

    VOID = ("meta", "br", "rect", "line", "path", "img")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def check_page(text: str) -> Page:
    """Well formed, with only our own tags and attributes, and nothing that loads or runs."""
    page = Page(text)
    assert not page.stack
    ours = "html head meta title style body div header p h1 h2 h3 main dl dt dd span i article figure svg g rect line"
    ours += " path figcaption table thead tbody tr th td small details summary mark ol li br code"
    assert {tag for tag, _ in page.tags} <= set(ours.split())
    used = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in used if name.startswith("on") or name in ("src", "href", "srcset", "action")}
    assert "url(" not in text
    assert "@import" not in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    return page
