"""Whether a sentence goes on behind what it quotes: "Why?" she asked. “走吧。”老人说。

A lower-case letter behind the quotation says so by itself (`boundaries`). Elsewhere the quotation must open its
sentence, and a verb of saying stand behind it: after a name in English, and in languages without capitals.
"""

from __future__ import annotations

import re

CJK_OPENERS = "“‘「『（《〈【［"

OPENER = {"”": "“", "’": "‘", "»": "«", "›": "‹", "“": "„", "」": "「", "』": "『", "）": "（", ")": "("}

# how far the other end of a quotation is looked for
REACH = 300

NAME_SAYS = re.compile(
    r"(?:[A-Z][\w.'’-]*+\s++){1,3}(?:said|says|asked|asks|replied|answered|added|cried|shouted|whispered|murmured"
    r"|muttered|called|yelled|wrote|told|explained|exclaimed|demanded|wondered|insisted|continued)\b"
)
ARABIC_SAYS = re.compile(r"[وف]?(?:سأل|قال|صاح|همس|أجاب|رد|صرخ|هتف|أضاف)\w{0,3}\b")
HINDI_SAYS = re.compile(r"[^।?!“”\"]{0,40}?(?:पूछ|कहा|कहते|कहती|बोल|चिल्ला|जवाब दिया)")
# a particle, or a verb of saying before the next stop
CJK_SAYS = re.compile(r"と|って|[^。！？，、；：“「『]{0,10}[說说問问道答喊叫]")


def goes_on(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether who said so stands behind the stop, closers and white space of `match` in text[start:]."""
    closer, following = match.group(2)[-1], text[match.end()]
    # what is said ends in a comma before the speaker, not in a full stop
    if closer not in "\"”’»'" or match.group(1)[-1] in ".।":
        return False
    says = _saying(following)
    return (
        says is not None and says.match(text, match.end()) is not None and is_first(text, start, match.start(), closer)
    )


def goes_on_without_space(text: str, start: int, match: re.Match[str]) -> bool:
    """As `goes_on`, in a script without spaces."""
    following = text[match.end()]
    if following in CJK_OPENERS or not CJK_SAYS.match(text, match.end()):
        return False
    return following in "とっ" or is_first(text, start, match.start(), match.group(2)[-1])


def is_first(text: str, start: int, stop: int, closer: str) -> bool:
    """Whether the quotation or the bracket around `stop` opens its sentence in text[start:]."""
    low = max(start, stop - REACH)
    opened = text.rfind(OPENER.get(closer, closer), low, stop)
    if opened < 0:
        return False
    head = text[max(start, opened - 3) : opened]
    return opened == start or head[-1] in "\n。！？」』”）" or (head[-1].isspace() and _is_behind_stop(head))


def _is_behind_stop(head: str) -> bool:
    bare = head.rstrip()
    return not bare or bare[-1] in ".!?…।॥؟۔\"'”’»)]"


def _saying(first: str) -> re.Pattern[str] | None:
    if first.isascii():
        return NAME_SAYS if first.isupper() else None
    if "\u0600" <= first <= "\u06ff":
        return ARABIC_SAYS
    return HINDI_SAYS if "\u0900" <= first <= "\u097f" else None
