"""Text of others for terminals, HTML and Markdown: shown, and never obeyed.

Escape sequences, control characters, marks that turn the direction of what follows, and characters without a width
become pictures; what HTML or Markdown would read is escaped. Everything that is no constant of ours goes through
here, also what "our own" files say: they come from elsewhere too.
"""

from __future__ import annotations

import re
from html import escape

REPLACEMENT = "\ufffd"
# marks of direction, characters without a width, separators of lines and paragraphs, tags
_HIDDEN = (0x061C, 0x180E, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF, 0x00AD)
_PICTURES = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"} | {
    127: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), REPLACEMENT),
    **dict.fromkeys(_HIDDEN, REPLACEMENT),
    **dict.fromkeys(range(0xFFF9, 0xFFFC), REPLACEMENT),
    **dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT),
    **dict.fromkeys(range(0xE0000, 0xE0080), REPLACEMENT),
}
# joiners are part of emoji and of many scripts, and hide among ASCII
_JOINERS = (0x200C, 0x200D)
_KEPT_JOINERS = {code: picture for code, picture in _PICTURES.items() if code not in _JOINERS}
_JOINER_AFTER_ASCII = re.compile("(?<![^\x00-\x7f])[\u200c\u200d]")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$^=:@>\"'/?%,;&<])")

# nothing is fetched, no script runs, no form is sent: what a page needs that has its styles and pictures in itself
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)
# the first line of a page's <head>
POLICY_TAG = f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">'
# by this a page of ours is known again (`marks.has_mark`)
GENERATOR = '<meta name="generator" content="prunekit'
GENERATOR_TAG = f'{GENERATOR}">'


def printable(text: str) -> str:
    """`text` for a terminal or page, line feeds and tabs kept: what would steer either is a picture."""
    text = _JOINER_AFTER_ASCII.sub(REPLACEMENT, text.replace("\r\n", "\n"))
    return text.translate(_KEPT_JOINERS)


def one_line(text: str, most: int = 400) -> str:
    """`text` as a name or message in a line: printable, white space runs as one space, cut to `most` characters."""
    # a long text is cut first, for there may be much of it
    line = " ".join(printable(text[: 4 * most]).split())
    return line if len(line) <= most and len(text) <= 4 * most else f"{line[: most - 1]}…"


def html_text(text: str) -> str:
    """`text` for HTML, between tags or in a quoted attribute: printable and escaped."""
    return escape(printable(text), quote=True)


def markdown_text(text: str) -> str:
    """`text` for one line of Markdown, a table's cell too: no mark-up, no link, no HTML."""
    return _MARKDOWN.sub(r"\\\1", one_line(text, most=10_000)).replace("\\<", "&lt;").replace("\\&", "&amp;")


def markdown_code(text: str) -> str:
    """`text` as code in one line of Markdown, a table's cell too: between more backticks than stand in it."""
    line = one_line(text, most=10_000).replace("|", "\\|")
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if not line or line[0] == "`" or line[-1] == "`" else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"
