"""What of a tag's attributes a reader is told: where a link leads, and what stands in place of an image.

A link that leads to a place in its own page, runs a script or holds data leads nowhere. Behind the words of a link its
target is shown where it says more than they do: an address with a scheme always, if it is not those words itself; any
other only where the words do not all occur in it, as "Florence" does in /wiki/Florence and "here" does not.
"""

from __future__ import annotations

import html
import re

from contextpruner.units.formats.html.tokens import ATTRIBUTE, Token
from contextpruner.units.terms import terms

# longer ones are for machines
LONGEST = 200
NOWHERE = re.compile(r"#|(?:javascript|vbscript|data|blob|about):", re.IGNORECASE)
SCHEME = re.compile(r"(?:[a-z][a-z0-9+.-]*+:)?//|(?:mailto|tel|sms):", re.IGNORECASE)


def link_target(source: str, token: Token) -> str:
    """Where the opening tag `token` of a link leads; empty where nowhere."""
    target = _attribute(source, token, "href")
    return "" if len(target) > LONGEST or NOWHERE.match(target) else target


def image_text(source: str, token: Token) -> str:
    """What stands in place of the image of the tag `token`."""
    return _attribute(source, token, "alt")


def shown_target(target: str, words: str) -> str:
    """What is shown of `target` behind the `words` of its link: all of it or nothing."""
    named = {*terms(target)}
    if not named:
        return ""
    scheme = SCHEME.match(target)
    if scheme is not None:
        words = words.strip()
        return "" if words in (target, target[scheme.end() :].rstrip("/")) else target
    return "" if named >= {*terms(words)} else target


def _attribute(source: str, token: Token, name: str) -> str:
    """The value of the attribute `name` of an opening tag, its white space as single spaces; empty without one."""
    for found in ATTRIBUTE.finditer(source, token.start + 1 + len(token.name), token.end - 1):
        if found[1].lower() == name:
            return " ".join(html.unescape((found[2] or "").strip("\"'")).split())
    return ""
