"""Sentences inside one paragraph: every stop is looked at once, with a bounded look to both sides.

A stop that nothing else uses (。！？ ؟ । ። and their kin) ends a sentence by itself. One of . ! ? … needs
white space behind it, and a following word that may begin a sentence: no lower-case letter, unless the
paragraph begins in lower case and goes on so. A full stop also needs a word before it that is no abbreviation,
no initial and no number of a list (`full_stops`). Quotes, brackets and citation marks behind a stop belong to
its sentence. Scripts without spaces between words are cut at those that they have (`pieces`).
"""

from __future__ import annotations

import re

from contextpruner import full_stops, pieces
from contextpruner.full_stops import OPENERS, REACH
from contextpruner.pieces import is_joined

HARD = "。！？｡．।॥؟۔።፧။។៕༎։\u037e"
CLOSERS = "\"'”’»›)\\]}）］】」』〉》*_"
CJK_OPENERS = "“‘「『（《〈【［"

# possessive wherever that is one character: whatever has been read is never read again (with groups Python before
# 3.11.5 goes wrong). A quote that opens elsewhere („so“) closes where
# white space follows, and so does one behind a space (« ainsi ! »)
STOP = re.compile(rf"([.!?…{HARD}]++)((?:[{CLOSERS}]|[“‘](?=\s)|[ \u00a0\u202f]»(?=\s))*(?:\[\d{{1,4}}\])*)(\s*+)")
# what goes on after a quotation: a particle, a verb of saying before the next stop
SAYS = re.compile(r"と|って|[^。！？，、；：“「『]{0,10}[说說问問道答喊叫]")
CAPITAL_BEGINS = re.compile(r"[.!?…]\s++[^\w\s]*+[A-ZÀ-ÖØ-ÞА-ЯЁΑ-Ω]")
WORD = re.compile(r"\w+")


def cut(text: str, start: int, end: int) -> list[int]:
    """Where the sentences of text[start:end], which has no line break that ends one, end in order; last is `end`."""
    ends: list[int] = []
    begin = start
    lower: bool | None = None
    for match in STOP.finditer(text, start, end):
        after = match.end()
        if after == end:
            break
        run, closers, space = match.groups()
        if run[-1] in HARD:
            is_end = _hard_ends(text, begin, match)
        elif not space:
            continue
        else:
            head = text[after : min(after + REACH, end)].lstrip(OPENERS)
            if head and head[0].islower() and not _is_brand(head):
                lower = _is_lower(text, start, end) if lower is None else lower
                is_end = lower and not full_stops.is_abbreviation(text, begin, match.start())
            else:
                is_end = run != "." or full_stops.ends(text, begin, match.start(), head)
        # a combining mark behind the space would be torn from it
        if is_end and not is_joined(text, after):
            ends.append(after)
            begin = after
    if begin < end:
        ends.append(end)
    return pieces.clauses(text, start, ends) if pieces.has_spaceless_script(text, start, end) else ends


def _hard_ends(text: str, begin: int, match: re.Match[str]) -> bool:
    run, closers, space = match.groups()
    if space:
        return True
    before, following = text[match.start() - 1 : match.start()], text[match.end()]
    # a decimal or an abbreviation in wide characters, or a sentence that goes on after what it quotes
    if following in "、，,;；" or (following.isdigit() and before.isdigit()):
        return False
    if run == "．" and "Ａ" <= before <= "ｚ":
        return False
    if not closers:
        return True
    if closers[0] in "）)" and text[begin] not in "（(":
        return False
    is_quote_first = text[begin] in CJK_OPENERS and following not in CJK_OPENERS
    return not (following in "とっ" or is_quote_first) or not SAYS.match(text, match.end())


def _is_lower(text: str, start: int, end: int) -> bool:
    """Whether the writer begins sentences in lower case."""
    head = text[start : min(start + REACH, end)].lstrip(OPENERS)
    return head[:1].islower() and not CAPITAL_BEGINS.search(text, start, end)


def _is_brand(head: str) -> bool:
    """Whether the first word is one that begins in lower case in any place, say eBay or macOS."""
    word = WORD.match(head)
    return word is not None and not word.group().islower()
