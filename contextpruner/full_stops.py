"""Whether a full stop ends its sentence or stands behind an abbreviation, an initial or an ordinal.

Decided by the words on both sides of it and the closed lists of `abbreviations`; nothing is looked at that is
further away than `REACH` characters.
"""

from __future__ import annotations

import re

from contextpruner import abbreviations

OPENERS = "\"'“”‘’„‚«»‹›([{（［【「『〈《¿¡*_-–—> \t\r\n\u00a0\u202f\u3000"

ACRONYM = re.compile(r"(?:[^\W\d_]{1,2}\.-?)+[^\W\d_]{1,2}")
WORD = re.compile(r"\w+")
NUMBER = re.compile(r"\d|[IVXLC]+\b")

# how far a decision looks; words are shorter
REACH = 40


def ends(text: str, begin: int, stop: int, head: str) -> bool:
    """Whether the stop at `stop` ends the sentence begun at `begin`; `head` follows, not in lower case."""
    original, earlier = _words_before(text, begin, stop)
    word = original.lower()
    if len(word) > 2 and word.isalpha() and word not in abbreviations.KNOWN:
        # most words, and nothing below would say otherwise
        return True
    if word in abbreviations.NEVER:
        return False
    if word in abbreviations.BEFORE_NUMBER and NUMBER.match(head):
        return False
    following = WORD.match(head)
    next_word = following.group().lower() if following else ""
    if word.isdecimal():
        return _number_ends(word, earlier, next_word, is_first=text[begin:stop].strip(OPENERS) == original)
    if _is_spaced(original, head):
        return False
    if word in abbreviations.TIMES:
        return not next_word.isdigit() and next_word not in abbreviations.AFTER_TIME
    is_initial = len(original) == 1 and original.isupper()
    if is_initial and (earlier.lower() in abbreviations.LABELS or earlier[-1:].isdigit()):
        # appendix A, 80 K
        return True
    if is_initial or word in abbreviations.EITHER or ACRONYM.fullmatch(word):
        is_name_or_number = next_word.isdigit() or next_word.upper() != next_word
        return next_word in abbreviations.STARTERS or not is_name_or_number
    return True


def is_abbreviation(text: str, begin: int, stop: int) -> bool:
    """Whether the word before `stop` is one that may be followed by a lower-case letter."""
    word = _words_before(text, begin, stop)[0].lower()
    known = word in abbreviations.NEVER or word in abbreviations.EITHER or word in abbreviations.TIMES
    return known or ACRONYM.fullmatch(word) is not None


def _is_spaced(word: str, head: str) -> bool:
    """Whether an abbreviation goes on: z. B., A. A. Milne, EE. UU."""
    if not word.isalpha() or len(word) > 2 or head[len(word) : len(word) + 1] != ".":
        return False
    return head[0].isalpha() and (len(word) == 1 or (word.isupper() and head[:2].isupper()))


def _number_ends(word: str, earlier: str, next_word: str, *, is_first: bool) -> bool:
    if is_first:
        # the number of a list
        return False
    if len(word) > 2:
        return True
    is_ordinal = earlier.lower() in abbreviations.BEFORE_ORDINAL and next_word not in abbreviations.STARTERS
    return next_word not in abbreviations.AFTER_ORDINAL and not is_ordinal


def _words_before(text: str, begin: int, stop: int) -> tuple[str, str]:
    """The word that ends at `stop` and the one before it, empty where there is none."""
    reach = stop - REACH
    words = text[begin if begin > reach else reach : stop].rsplit(None, 2)
    if not words or text[stop - 1].isspace():
        return "", ""
    return words[-1].lstrip(OPENERS), words[-2] if len(words) > 1 else ""
