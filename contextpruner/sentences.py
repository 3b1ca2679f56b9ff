"""Sentences inside one paragraph: every stop is looked at once, with a bounded look to both sides.

A stop that nothing else uses (。！？ ؟ । ။ and their kin) ends a sentence by itself. One of . ! ? … needs
white space behind it, and a following word that may begin a sentence: no lower-case letter, unless the
paragraph has no upper case at all. A full stop also needs a word before it that is no abbreviation, no
initial and no number of a list (`abbreviations`). Quotes, brackets and citation marks behind a stop belong
to its sentence.
"""

from __future__ import annotations

import re

from contextpruner import abbreviations
from contextpruner.pieces import is_joined

HARD = "。！？｡．।॥؟۔።፧။។៕༎։\u037e"
CLOSERS = "\"'”’»›)\\]}）］】」』〉》*_"
OPENERS = "\"'“”‘’„‚«»‹›([{（［【「『〈《¿¡*_-–—> \t\r\n\u00a0\u3000"
CJK_OPENERS = "“‘「『（《〈【［"

# possessive throughout: whatever has been read is never read again
STOP = re.compile(rf"([.!?…{HARD}]++)([{CLOSERS}]*+(?:\[\d{{1,4}}\])*+)(\s*+)")
ACRONYM = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")
WORD = re.compile(r"\w+")
NUMBER = re.compile(r"\d|[IVXLC]+\b")

# how far a decision looks; words are shorter
REACH = 40


def cut(text: str, start: int, end: int) -> list[int]:
    """Where the sentences of text[start:end] end, in order; the last of them is `end`."""
    ends: list[int] = []
    begin = start
    lower: bool | None = None
    for match in STOP.finditer(text, start, end):
        after = match.end()
        if after == end:
            break
        run, closers, space = match.groups()
        if run[-1] in HARD:
            is_end = _hard_ends(text, begin, after, closers, space)
        elif not space:
            continue
        else:
            head = text[after : min(after + REACH, end)].lstrip(OPENERS)
            if head and head[0].islower():
                lower = text[start:end].islower() if lower is None else lower
                is_end = lower and not _is_abbreviation(_word_before(text, begin, match.start()))
            else:
                is_end = run != "." or _full_stop_ends(text, begin, match.start(), head)
        # a combining mark behind the space would be torn from it
        if is_end and not is_joined(text, after):
            ends.append(after)
            begin = after
    if begin < end:
        ends.append(end)
    return ends


def _hard_ends(text: str, begin: int, after: int, closers: str, space: str) -> bool:
    if space:
        return True
    following = text[after]
    # a decimal in wide digits, or a sentence that goes on after what it quotes
    if following.isdigit() or following in "、，,;；":
        return False
    if not closers:
        return True
    is_quote_first = text[begin] in CJK_OPENERS and following not in CJK_OPENERS
    return not (is_quote_first or text.startswith(("と", "って"), after))


def _word_before(text: str, begin: int, stop: int) -> str:
    words = text[max(begin, stop - REACH) : stop].split()
    return words[-1].lstrip(OPENERS) if words and not text[stop - 1].isspace() else ""


def _is_abbreviation(word: str) -> bool:
    word = word.lower()
    known = word in abbreviations.NEVER or word in abbreviations.EITHER
    return known or ACRONYM.fullmatch(word) is not None


def _full_stop_ends(text: str, begin: int, stop: int, head: str) -> bool:
    """Whether the stop at `stop` ends the sentence begun at `begin`; `head` follows, not in lower case."""
    original = _word_before(text, begin, stop)
    word = original.lower()
    if word in abbreviations.NEVER:
        return False
    if word in abbreviations.BEFORE_NUMBER and NUMBER.match(head):
        return False
    following = WORD.match(head)
    next_word = following.group().lower() if following else ""
    if word.isdecimal():
        if text[begin:stop].strip(OPENERS) == original:
            return False
        return len(word) > 2 or next_word not in abbreviations.AFTER_ORDINAL
    is_initial = len(original) == 1 and original.isupper()
    if is_initial or word in abbreviations.EITHER or ACRONYM.fullmatch(word):
        is_another_initial = len(next_word) == 1 and head[1:2] == "."
        is_name_or_number = next_word.isdigit() or next_word.upper() != next_word
        return not is_another_initial and (next_word in abbreviations.STARTERS or not is_name_or_number)
    return True
