"""Whether a full stop ends its sentence or stands behind an abbreviation, an initial or an ordinal.

Decided by the words on both sides of it and the closed lists of `abbreviations`; nothing is looked at that is
further away than `REACH` characters.
"""

from __future__ import annotations

import re
import unicodedata

from contextpruner.units.sentences import abbreviations

OPENERS = "\"'“”‘’„‚«»‹›([{（［【「『〈《¿¡*_-–—> \t\r\n\u00a0\u202f\u3000"

BEFORE_WORD = re.compile(f"[{re.escape(OPENERS)}]*+")
ACRONYM = re.compile(r"(?:[^\W\d_]{1,2}\.-?)+[^\W\d_]{1,2}")
WORD = re.compile(r"\w+")
# also the letter of an exhibit and the sign of a section, but neither an article nor an initial
NUMBER = re.compile(r"\d|[IVXLC]+\b|[B-Z]\b(?!\.)|[§№#]")
# a number that an acronym or an initial is cited with
REFERENCE = re.compile(r"[§№#]|(?:Nos?|Nr|Vol|Art|Sec|Ch|Fig|Abs)\.\s?\d")
# Com. & Adm.
AMPERSAND = re.compile(r"&(?:amp;)?\s")
DANDA = re.compile("[।॥|]")

ORDINALS = frozenset("ºª")

# how far a decision looks; words are shorter
REACH = 40
DANDA_REACH = 300


def is_common(text: str, begin: int, stop: int) -> bool:
    """Whether a common word stands before `stop`, behind which a capital begins a sentence beyond doubt."""
    low = stop - REACH
    low = begin if begin > low else low
    word = text[max(low, text.rfind(" ", low, stop) + 1) : stop]
    return len(word) > 2 and word.isascii() and word.isalpha() and word.lower() not in abbreviations.KNOWN


def skip_openers(text: str, after: int, end: int) -> int:
    """The first place from `after` on that is no quote or bracket that opens, nor white space."""
    return BEFORE_WORD.match(text, after, min(after + REACH, end)).end()  # type: ignore[union-attr]


def ends(text: str, begin: int, stop: int, head: str) -> bool:
    """Whether the stop at `stop` ends the sentence begun at `begin`; `head` follows, not in lower case."""
    if AMPERSAND.match(head):
        return False
    original, earlier = _words_before(text, begin, stop)
    word = original.lower()
    is_caseless = "\u0590" <= word[-1:] <= "\u0dff"
    if len(word) > 2 and word.isalpha() and word not in abbreviations.KNOWN and not is_caseless:
        # most words, and nothing below would say otherwise
        return True
    if is_caseless:
        return _caseless_ends(text, begin, stop, word)
    if earlier.endswith(".") and (spaced := earlier.lstrip(OPENERS) + word) in abbreviations.KNOWN:
        word = spaced
    if not word.isalpha() and len(part := _last_part(word)) > 1:
        word = part
    if word in abbreviations.CLOSING:
        return True
    if word in abbreviations.UNITS and earlier[-1:].isdigit() and not head[:1].isdigit():
        return True
    if word in abbreviations.NEVER:
        return False
    if word in abbreviations.BEFORE_NUMBER and NUMBER.match(head):
        return False
    following = WORD.match(head)
    next_word = following.group().lower() if following else ""
    if word.isdecimal():
        return _number_ends(word, earlier, next_word, is_first=_begins(text, begin, stop, original))
    if _is_spaced(original, head):
        return False
    if word in abbreviations.TIMES:
        return not next_word.isdigit() and next_word not in abbreviations.AFTER_TIME
    is_initial = len(original) == 1 and original.isupper()
    if is_initial and (earlier.lower() in abbreviations.LABELS or earlier[-1:].isdigit() or earlier[-1:] in ORDINALS):
        # appendix A, 80 K, 3.º B
        return True
    if is_initial or word in abbreviations.EITHER or ACRONYM.fullmatch(word):
        if REFERENCE.match(head):
            return False
        is_name_or_number = next_word.isdigit() or next_word.upper() != next_word
        return next_word in abbreviations.STARTERS or not is_name_or_number
    return True


def goes_on_in_lower_case(text: str, begin: int, stop: int) -> bool:
    """Whether the word before `stop` is an abbreviation that may be followed by a lower-case letter."""
    word = _words_before(text, begin, stop)[0].lower()
    known = word in abbreviations.KNOWN and word not in abbreviations.BEFORE_NUMBER
    return known or ACRONYM.fullmatch(word) is not None


def is_plain_word(text: str, begin: int, stop: int, shortest: int) -> bool:
    """Whether the word before `stop` is in lower case, no abbreviation, and has at least `shortest` letters."""
    word = _last_word(text, begin, stop)
    return len(word) >= shortest and word.islower() and word.isalpha() and word not in abbreviations.KNOWN


def _caseless_ends(text: str, begin: int, stop: int, word: str) -> bool:
    """Arabic, Hebrew and the scripts of India have no capitals: there the word itself must tell."""
    if word[-1] < "\u0900":
        return len(word) > 1 and ACRONYM.fullmatch(word) is None
    # where sentences end with a danda, a full stop is the sign of an abbreviation
    if DANDA.search(text, max(stop - DANDA_REACH, 0), stop + DANDA_REACH):
        return False
    return "." not in word and sum(unicodedata.category(character) == "Lo" for character in word) > 1


def _last_part(word: str) -> str:
    """The abbreviation behind what is written together with it: l'art., Dipl.-Ing."""
    elided, mark, rest = word.replace("’", "'").partition("'")
    return rest if mark and len(elided) < 3 else word.rpartition(".-")[2]


def _is_spaced(word: str, head: str) -> bool:
    """Whether an abbreviation goes on: z. B., A. A. Milne, EE. UU."""
    if not word.isalpha() or len(word) > 2 or head[len(word) : len(word) + 1] != ".":
        return False
    return head[0].isalpha() and (len(word) == 1 or (word.isupper() and head[:2].isupper()))


def _begins(text: str, begin: int, stop: int, number: str) -> bool:
    """Whether the sentence begins with `number`, or with it and what it numbers: Table 3. Growth rates"""
    before = text[begin:stop].strip(OPENERS)[: -len(number)].rstrip() if stop - begin < REACH else number
    return not before or before.lower() in abbreviations.LABELS


def _number_ends(word: str, earlier: str, next_word: str, *, is_first: bool) -> bool:
    if is_first or earlier[-1:] in (":", ";"):
        # the number of a list
        return False
    if len(word) > 2:
        return True
    is_ordinal = earlier.lower() in abbreviations.BEFORE_ORDINAL and next_word not in abbreviations.STARTERS
    return next_word not in abbreviations.AFTER_ORDINAL and not is_ordinal


def _last_word(text: str, begin: int, stop: int) -> str:
    """The word that ends at `stop`, whatever stands before it in its line included."""
    low = stop - REACH
    low = begin if begin > low else low
    word = text[max(low, text.rfind(" ", low, stop) + 1) : stop]
    return word if word.isalpha() else word.rpartition("\n")[2]


def _words_before(text: str, begin: int, stop: int) -> tuple[str, str]:
    """The word that ends at `stop` and the one before it, empty where there is none."""
    reach = stop - REACH
    words = text[begin if begin > reach else reach : stop].rsplit(None, 2)
    if not words or text[stop - 1].isspace():
        return "", ""
    return words[-1].lstrip(OPENERS), words[-2] if len(words) > 1 else ""
