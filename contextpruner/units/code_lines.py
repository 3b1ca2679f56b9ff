"""Code by line: which lines make one unit, and which signature a line stands under.

A unit is a line with the blank lines behind it. What says nothing alone goes with its neighbour: a line of
brackets belongs to the line before it, a decorator or annotation to the line after it. A signature (the head
of a function, class or the like) runs on to its closing bracket. Indentation says what stands under what: a
line stands under the last signature that is indented less, and a setting under its section ("[database]"). No language
is parsed; where the rules err, units are still whole lines.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# a signature that does not close its bracket within so many lines is no signature
SIGNATURE_LINES = 40

TAB = 8

LINE = re.compile(r"([ \t]*+)([^\r\n]*+)(?:\r\n|\r|\n|$)")
# brackets that open or close a block, with what may follow them
BRACKETS = re.compile(r"[\])}][\])}{;,:\s]*+$|[{(\[]\s*+$|end;?\s*+$")
DECORATOR = re.compile(r"@[\w.]+(?:\(.*\))?\s*+$|#\[.*\]\s*+$|\[[A-Z]\w*(?:\(.*\))?\]\s*+$|template\s*+<.*>\s*+$")
MODIFIERS = (
    r"(?:(?:export|default|declare|public|private|protected|internal|static|final|abstract|async|override|virtual"
    r"|inline|extern|unsafe|const|sealed|partial|open|suspend|data|readonly|pub(?:\([a-z]++\))?)\s++)*"
)
NAMED = re.compile(
    MODIFIERS + r"(?:def|class|function|fn|func|fun|interface|struct|enum|trait|impl|module|namespace|record|object"
    r"|protocol|extension|macro|defmodule|defp|sub|procedure|program|contract|message|service)\b\*?+\s*+[\w(<&'\[$]"
    r"|(?i:create\s++(?:or\s++replace\s++)?(?:table|view|function|procedure|trigger)\b)"
)
ARROW = re.compile(
    MODIFIERS + r"(?:let|var)?\s*+[\w$.]++\s*+[=:]\s*+(?:async\s++)?(?:function\b|\([^()]*+\)\s*+=>|\w++\s*+=>)"
)
# "int f(char *s)", "Map<K, V> get(K key) {", "name() {": words, a bracket, and neither a stop nor a value behind
CALLED = re.compile(r"(?:template\s*+<[^>]*+>\s*+)?(?:[\w$:<>\[\],*&~?.]++\s++)*[*&~]*+[\w$:~]++\([^;=]*+$")
CONTROL = re.compile(
    r"(?:if|else|elif|for|foreach|while|switch|case|catch|except|try|do|return|with|when|match|unless|until|throw|new"
    r"|yield|await|assert|print|raise|import|from|using|delete|goto|in|and|or|not|lock|sizeof|typeof|require|include)\b"
)


# a section of settings, with one below it or a blank line
SECTION = re.compile(r"\[{1,2}[\w .:/\"'@-]+\]{1,2}\s*+(?:[#;].*)?$")
SETTING = re.compile(r"\s*+(?:[#;][^\r\n]*+\s++)*[\w.\"'-]++[ \t]*+(?:=(?!=)|:[ \t])")


class CodeLine(NamedTuple):
    """The characters up to `end`, how deep they are indented, and whether they open a function or the like."""

    end: int
    indent: int
    is_signature: bool


def code_lines(text: str, start: int, end: int) -> list[CodeLine]:
    """The units of the code text[start:end], whole lines that follow each other; empty where nothing is shown."""
    reader = _Reader(text, end)
    for match in LINE.finditer(text, start, end):
        if match.end() > match.start():
            reader.read(match)
    return reader.units


class _Reader:
    """Goes through the lines once."""

    def __init__(self, text: str, end: int) -> None:
        self.text, self.end = text, end
        self.units: list[CodeLine] = []
        # brackets of a signature that are still open, and for how many more lines they may be
        self.depth = 0
        self.room = 0
        # the line that decides what the last unit is, is still to come
        self.is_pending = False

    def read(self, match: re.Match[str]) -> None:
        indent, code = match.groups()
        end = match.end()
        is_blank = not code.strip()
        if self.is_pending:
            self.units.pop()
        elif self.units and (is_blank or self._continues(code)):
            self.units[-1] = self.units[-1]._replace(end=end)
            return
        is_section = SECTION.match(code) is not None and SETTING.match(self.text, end, self.end) is not None
        is_signature = is_section or is_signature_line(code)
        self.units.append(CodeLine(end, -1 if is_section else len(indent.expandtabs(TAB)), is_signature))
        # blank lines at the head and decorators go with the line after them
        self.is_pending = is_blank or (DECORATOR.match(code) is not None and not is_section)
        self.depth, self.room = (_depth(0, code), SIGNATURE_LINES) if is_signature else (0, 0)

    def _continues(self, code: str) -> bool:
        if self.depth > 0 and self.room > 0:
            self.depth = _depth(self.depth, code)
            self.room -= 1
            return True
        return BRACKETS.match(code) is not None


def is_signature_line(code: str) -> bool:
    """Whether `code`, a line without its indentation, opens a function, a class or the like."""
    if NAMED.match(code) or ARROW.match(code):
        return True
    if CONTROL.match(code) or not CALLED.match(code):
        return False
    bare = code.rstrip()
    # a definition, not a call: a brace or colon behind it, or a type before its name
    return bare[-1] in "{:" or (bare[-1] not in ",." and " " in bare[: bare.index("(")].rstrip())


def _depth(depth: int, code: str) -> int:
    """How many brackets are open behind a line of a signature; none where its end shows that it is over."""
    return 0 if code.rstrip().endswith((":", "{", ";")) else depth + code.count("(") - code.count(")")
