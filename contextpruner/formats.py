"""Formats: what the text of a document is, and how it is cut.

    text       prose, with Markdown's marks where it has them; a text that is a whole page of HTML is read as HTML,
               and one that looks like source code is cut as code
    markdown   prose and Markdown, whatever it looks like
    html       HTML, whole pages and fragments (`units.formats.html`)
    code       source code in any language (`units.code_lines`)

A file has the format that its suffix names, and "text" where that names none.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Literal, get_args

Format = Literal["text", "markdown", "html", "code"]
FORMATS: tuple[Format, ...] = get_args(Format)

PAGE = re.compile(r"\ufeff?\s*+(?:<\?xml[^>]*+>\s*+)?<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)

NAMES: dict[Format, str] = {
    "markdown": "md markdown mdown mkd mdx",
    "html": "html htm xhtml",
    "code": "py pyi pyx js mjs cjs jsx ts mts cts tsx java kt kts scala groovy c h cc cpp cxx hh hpp hxx cu cuh m mm "
    "cs fs vb go rs swift zig nim d rb php pl pm lua r jl dart ex exs erl hrl hs ml mli clj cljs lisp el scm sh bash "
    "zsh fish ps1 bat cmd sql proto thrift graphql css scss sass less vue svelte json yaml yml toml ini cfg conf xml "
    "tf hcl cmake gradle mk asm s f90 f95 f03 f pas ada vhd v sv sol tcl awk",
}
SUFFIXES: dict[str, Format] = {f".{name}": format_ for format_, names in NAMES.items() for name in names.split()}


def of_path(path: str) -> Format:
    """The format of the file at `path`, by its suffix."""
    return SUFFIXES.get(PurePath(path).suffix.lower(), "text")


def told(text: str, given: Format = "text") -> Format:
    """The format that `text` is read in: "html" for a whole page that was given as text, else the one given."""
    return "html" if given == "text" and PAGE.match(text) else given
