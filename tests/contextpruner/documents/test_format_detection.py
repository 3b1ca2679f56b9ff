"""Every document is cut as what it is: by its suffix, by its field, or as its text tells."""

import io
import json
from pathlib import Path

import pytest

from contextpruner import ContextPruner, Document, Unit
from contextpruner.documents.files import read_files
from contextpruner.documents.format_detection import detect_format, format_of_suffix

CODE = "def f(x):\n    return x\n\ndef g(y):\n    return f(y)\n"
PAGE = "<!doctype html>\n<p>One &amp; two.<p>Three."


def kinds(text: str, format_: str | None = None) -> list[str]:
    document = {"text": text, "format": format_}
    return [span.kind for span in ContextPruner("lead").prune("q", [document], threshold=0).documents[0].spans]


@pytest.mark.parametrize(
    ("path", "format_"),
    [
        ("a/b.html", "html"),
        ("B.HTM", "html"),
        ("x.xhtml", "html"),
        ("x.md", "markdown"),
        ("x.PY", "code"),
        ("x.tar.js", "code"),
        ("x.java", "code"),
        ("x.c", "code"),
        ("x.txt", "text"),
        ("py", "text"),
        ("-", "text"),
        ("html/x", "text"),
        (".html", "text"),
    ],
)
def test_a_suffix_names_a_format(path: str, format_: str) -> None:
    assert format_of_suffix(path) == format_


def test_a_format_is_what_a_document_is_cut_as() -> None:
    assert kinds(CODE) == ["code"] * 4
    assert kinds(CODE, "code") == ["code"] * 4
    assert set(kinds(CODE, "markdown")) == {"sentence"}
    assert kinds("One. Two.", "code") == ["code"]
    assert kinds("<p>One.</p>") == ["sentence"]
    assert kinds("<p>One.</p>", "html") == ["markup", "sentence", "markup"]
    assert kinds(PAGE, "markdown")[0] == "sentence"


@pytest.mark.parametrize(
    ("text", "format_"),
    [
        (PAGE, "html"),
        ("\ufeff \n<HTML lang=en><p>x", "html"),
        ('<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x">', "html"),
        ("The <html> tag", "text"),
        ("<htmlx>", "text"),
        ("<p>One</p>", "text"),
        ("<h2>One</h2><p>Two</p>", "html"),
        ("<ul>\n <li>One\n <li>Two\n</ul>\n", "html"),
        ("<p>One</p>\n\n<div class=a>Two</div>", "html"),
        ("<p>One</p>\n\nTwo <b>three</b>\n\n<p>Four</p>", "text"),
        ("<details><summary>One</summary>\n\n- Two\n\n</details>", "text"),
        ("<root><a>One</a><b>Two</b></root>", "text"),
        ("", "text"),
    ],
)
def test_a_whole_page_is_told_by_its_head(text: str, format_: str) -> None:
    assert detect_format(text) == format_
    assert detect_format(text, "code") == "code"
    document = ContextPruner("lead").prune("q", [text], threshold=0).documents[0]
    assert (document.format, document.html is None) == (format_, format_ == "text")


def test_a_splitter_of_the_user_s_own_cuts_prose_and_markdown() -> None:
    pruner = ContextPruner("lead", splitter=lambda text: [Unit(0, len(text), "rule")])
    documents = [Document("a. b."), Document(PAGE), Document("a", format="markdown"), Document(CODE, format="code")]
    found = pruner.prune("q", [*documents, Document(PAGE, format="html")], threshold=0).documents
    assert [{span.kind for span in document.seen} for document in found] == [
        *[{"rule"}] * 3,
        {"code"},
        {"sentence"},
    ]
    assert [document.format for document in found] == ["text", "text", "markdown", "code", "html"]


def test_a_format_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="document 1: format wants one of text, markdown, html, code, .*, got 'HTML'"):
        ContextPruner("lead").prune("q", ["a", {"text": "a", "format": "HTML"}], top_k=1)


def test_files_have_the_format_of_their_suffix_and_lines_their_field(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(PAGE)
    (tmp_path / "b.py").write_text(CODE)
    (tmp_path / "c.md").write_text("# T\n")
    (tmp_path / "d.jsonl").write_text(json.dumps({"text": "<p>x", "format": "html"}) + '\n{"text": "y"}\n')
    found = read_files([str(tmp_path)], io.BytesIO())
    assert [document.format for document in found.documents] == ["html", "code", "markdown", "html", "text"]
    (tmp_path / "d.jsonl").write_text('{"text": "x", "format": 1}\n')
    with pytest.raises(ValueError, match=r"d.jsonl:1: format wants one of text, markdown, html, code, .*, got 1"):
        read_files([str(tmp_path)], io.BytesIO())


def test_what_is_no_text_is_passed_over_in_folders_only(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.")
    for name, data in (("b.png", b"\x89PNG\xff"), ("c.bin", b"a\x00b")):
        (tmp_path / name).write_bytes(data)
    found = read_files([str(tmp_path)], io.BytesIO())
    assert [document.text for document in found.documents] == ["One."]
    assert found.no_text == [str(tmp_path / "b.png"), str(tmp_path / "c.bin")]
    with pytest.raises(ValueError, match=r"b.png is not UTF-8"):
        read_files([str(tmp_path / "b.png")], io.BytesIO())
    assert read_files([str(tmp_path / "c.bin")], io.BytesIO()).documents[0].text == "a\x00b"
    (tmp_path / "a.txt").unlink()
    with pytest.raises(ValueError, match="is a folder without text files"):
        read_files([str(tmp_path)], io.BytesIO())
