"""Formats: what the text of a document is, told by its suffix or from the text itself.

    text       prose, with Markdown's marks where it has them; a text that is a page of HTML, or a fragment of one with
               nothing between its elements, is read as HTML, and one that looks like source code is cut as code
    markdown   prose and Markdown, whatever it looks like
    html       HTML, whole pages and fragments (`units.formats.html`)
    code       source code in any language (`units.code_lines`)
    json       JSON, or JSON lines
    csv        rows of cells, with commas, semicolons or tabs between them
    mail       one mail or several, with their headers
    chat       turns of speakers
    subtitles  SRT, WebVTT
    latex      LaTeX

A file has the format that its suffix names, and "text" where that names none. A text is read as one of the others where
its head says so (`told_formats`).

Source code is told from the lines at the head of a text. A line shows a mark of code (an end in ; or a brace, a call,
an assignment, a keyword where only code has one) or none. Comments, strings that stand alone and lines of closing
brackets are not asked. Half of the other lines must show a mark. A text with a fence is Markdown, whatever it quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Literal, get_args

from contextpruner.documents.told_formats import is_chat, is_csv, is_json, is_latex, is_mail, is_subtitles

Format = Literal["text", "markdown", "html", "code", "json", "csv", "mail", "chat", "subtitles", "latex"]
FORMATS: tuple[Format, ...] = get_args(Format)

# elements that a fragment of a page begins with
ELEMENT = re.compile(
    r"<(?:h[1-6]|p|div|section|article|main|aside|header|footer|nav|table|ul|ol|dl|details|figure|blockquote|pre|form)"
    r"(?:\s[^<>]*+)?>",
    re.IGNORECASE,
)
INNER = re.compile(rf"{ELEMENT.pattern}|<(?:li|dt|dd|tr|td|th|summary)(?:\s[^<>]*+)?>", re.IGNORECASE)
PARAGRAPHS = re.compile(r"\n[ \t\r]*+\n")
MARKDOWN_LINE = re.compile(r"^(?:#{1,6} |[-*+] |\d+\. |\||```|~~~)", re.MULTILINE)
PAGE = re.compile(r"\ufeff?\s*+(?:<\?xml[^>]*+>\s*+)?<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)

NAMES: dict[Format, str] = {
    "markdown": "md markdown mdown mkd mdx",
    "html": "html htm xhtml",
    "code": "py pyi pyx js mjs cjs jsx ts mts cts tsx java kt kts scala groovy c h cc cpp cxx hh hpp hxx cu cuh m mm "
    "cs fs vb go rs swift zig nim d rb php pl pm lua r jl dart ex exs erl hrl hs ml mli clj cljs lisp el scm sh bash "
    "zsh fish ps1 bat cmd sql proto thrift graphql css scss sass less vue svelte yaml yml toml ini cfg conf xml "
    "tf hcl cmake gradle mk asm s f90 f95 f03 f pas ada vhd v sv sol tcl awk",
    "json": "json jsonl ndjson geojson ipynb har",
    "csv": "csv tsv",
    "mail": "eml mbox",
    "subtitles": "srt vtt",
    "latex": "tex latex",
}
SUFFIXES: dict[str, Format] = {f".{name}": format_ for format_, names in NAMES.items() for name in names.split()}

# what is looked at of a text that may be code
CHARACTERS = 5000
LINE_CHARACTERS = 200

SHARE = 0.5

# in this order, as a mail has lines like those of a chat
TOLD: dict[Format, Callable[[str], bool]] = {
    "subtitles": is_subtitles,
    "json": is_json,
    "mail": is_mail,
    "latex": is_latex,
    "chat": is_chat,
    "csv": is_csv,
}

SILENT = re.compile(r"#(?!include|define|if|endif|!)|//|/?\*|--|[\])}]|'|\"(?![^\"]*\"\s*:)")
KEYWORD = re.compile(
    r"#|import\s[\w.{*]|from\s\S+\simport\s|def\s\w+\s*\(|(?:class|struct|enum|interface)\s\w+\s*[:({<]|return\b"
    r"|try:|finally:|except\b.*:$|(?:if|elif|else|for|while|with)\b.*:$|@\w[\w.]*(?:\(.*\))?$|(?:package|using)\s[\w.]+;?$"
    r"|(?:const|let|var|val|fn|pub)\s\w|func(?:tion)?\s\w*\s*\(|(?:public|private|protected|static)\s\w"
    r"|(?:SELECT|FROM|WHERE|JOIN|GROUP BY|ORDER BY|INSERT|UPDATE|CREATE|DROP)\s"
)
SHAPE = re.compile(
    r"[;{}]\s*$|^\"[^\"]*\"\s*:|^[\w.\[\]*&]+(?:\s\w+)?\s*[-+*/|&:]?=(?!=)\s*\S|\w\([^\s()]*\)|\s(?:==|!=|&&|\|\||->|=>)\s|\w::\w"
)


def format_of_suffix(path: str) -> Format:
    """The format of the file at `path`, by its suffix."""
    return SUFFIXES.get(PurePath(path).suffix.lower(), "text")


def detect_format(text: str, given: Format = "text") -> Format:
    """The format that `text` is read in: what its head says where it was given as text, else the one given."""
    if given != "text":
        return given
    if PAGE.match(text) or is_fragment(text):
        return "html"
    return next((format_ for format_, is_told in TOLD.items() if is_told(text)), given)


def is_fragment(text: str) -> bool:
    """Whether `text` is elements of HTML alone, several, in each paragraph, without a line of Markdown between them."""
    bare = text.strip("\ufeff \t\r\n")
    first = ELEMENT.match(bare)
    if not first or not bare.endswith(">") or not INNER.search(bare, first.end()) or MARKDOWN_LINE.search(bare):
        return False
    return all(part.startswith("<") and part.endswith(">") for part in map(str.strip, PARAGRAPHS.split(bare)))


def is_code(text: str) -> bool:
    """Whether at least half of the lines at the head of `text`, two or more, show a mark of code."""
    if "\n" not in text or is_latex(text):
        return False
    head = text[:CHARACTERS]
    if "```" in head or "~~~" in head:
        return False
    lines = [line for line in map(str.strip, head.split("\n")) if line and not SILENT.match(line)]
    marked = sum(len(line) <= LINE_CHARACTERS and _is_marked(line) for line in lines)
    return marked >= 2 and marked >= SHARE * len(lines)


def _is_marked(line: str) -> bool:
    return KEYWORD.match(line) is not None or SHAPE.search(line) is not None
