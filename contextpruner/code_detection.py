"""Whether a text is source code, told from the lines at its head.

A line shows a mark of code (an end in ; or a brace, a call, an assignment, a keyword where only code has one) or
none. Comments, strings that stand alone and lines of closing brackets are not asked. Half of the other lines must
show a mark. A text with a fence is Markdown, whatever it quotes.
"""

from __future__ import annotations

import re

# what is looked at
CHARACTERS = 5000
LINE_CHARACTERS = 200

SHARE = 0.5

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


def is_code(text: str) -> bool:
    """Whether at least half of the lines at the head of `text`, two or more, show a mark of code."""
    if "\n" not in text:
        return False
    head = text[:CHARACTERS]
    if "```" in head or "~~~" in head:
        return False
    lines = [line for line in map(str.strip, head.split("\n")) if line and not SILENT.match(line)]
    marked = sum(len(line) <= LINE_CHARACTERS and _is_marked(line) for line in lines)
    return marked >= 2 and marked >= SHARE * len(lines)


def _is_marked(line: str) -> bool:
    return KEYWORD.match(line) is not None or SHAPE.search(line) is not None
