"""Sentences inside one paragraph: every stop is looked at once, with a bounded look to both sides.

A stop that nothing else uses (。！？ ؟ । ። and their kin) ends a sentence by itself. One of . ! ? … needs
white space behind it, and a following word that may begin a sentence: no lower-case letter, unless the
paragraph begins in lower case and goes on so, or the word before the stop is a plain one. A full stop also needs a
word before it that is no abbreviation, no initial and no number of a list (`full_stops`). Quotes, brackets, citation
marks and smiling faces behind a stop belong to its sentence; a quotation does not end it that is followed by who said
so (`quotations`). Scripts without spaces between words are cut at those that they have (`long_text`).
"""

from __future__ import annotations

import re

from contextpruner.units import long_text
from contextpruner.units.long_text import is_inside_character
from contextpruner.units.sentences import abbreviations, full_stops, quotations
from contextpruner.units.sentences.full_stops import OPENERS, REACH

SOFT = ".!?…"
HARD = "。！？｡．।॥؟۔።፧။។៕༎։\u037e"
CLOSERS = "\"'”’»›)\\]}）］】」』〉》*_"

SMILE = "\U0001f300-\U0001faff"

# possessive wherever that is one character: whatever has been read is never read again (with groups Python before
# 3.11.5 goes wrong). A quote that opens elsewhere („so“) closes where white space follows, and so does one behind a
# space (« ainsi ! »). In Hindi | stands for a danda
STOP = re.compile(
    # before a digit or a small letter it is a number's, a file's or an abbreviation's own
    rf"([.!?…|{HARD}{SMILE}](?<![.!?|](?=[0-9a-z]))[.!?…|{HARD}{SMILE}]*+)"
    rf"((?:[{CLOSERS}]|[“‘](?=\s)|[ \u00a0\u202f]»(?!\S))*(?:\[\d{{1,4}}\])*)(\s*+)"
)
CAPITAL_BEGINS = re.compile(r"[.!?…]\s++[^\w\s]*+[A-ZÀ-ÖØ-ÞА-ЯЁΑ-Ω]")
WORD = re.compile(r"\w+")
SMILES = re.compile(rf"(?:[☹☺❤{SMILE}][☹☺❤{SMILE}\ufe0f\u200d]*+|[:;=][-']?[()DPp/]|<3+|[xX]D+)(?:\s++|$)")
# Chinese particles that end what is left open behind them
PARTICLES = frozenset("吧呢吗呀嘛")

# letters of a word before a full stop, an ellipsis and a question mark, for a sentence to begin in lower case there
PLAIN, OPEN, ASKED = 5, 4, 3


def sentence_ends(text: str, start: int, end: int) -> list[int]:
    """Where the sentences of text[start:end], which has no line break that ends one, end in order; last is `end`."""
    ends: list[int] = []
    begin = start
    lower: bool | None = None
    for match in STOP.finditer(text, start, end):
        place, after = match.span()
        if after == end:
            break
        first = text[after]
        if "A" <= first <= "Z" and text[place:after] == ". " and full_stops.is_common(text, begin, place):
            ends.append(after)
            begin = after
            continue
        run, closers, space = match.groups()
        mark = run[-1]
        if mark in SOFT and space:
            smiles, word = None, after
            if not first.isalpha():
                smiles = SMILES.match(text, after, end)
                after = smiles.end() if smiles else after
                # behind quotes and brackets that open there
                word = full_stops.skip_openers(text, after, end)
                first = text[word : word + 1]
            is_end = False
            if first.islower():
                lower = _is_lower(text, start, end) if lower is None else lower
                is_end = smiles is not None or _ends_before_lower_case(text, begin, match, lower)
            if not is_end and not (first.islower() and _is_lower_word(text, word)):
                is_end = run != "." or full_stops.ends(text, begin, place, text[word : after + REACH])
        elif mark in HARD:
            is_end = bool(space) or _hard_ends(text, start, match)
        elif not space:
            is_end = _glued_ends(text, begin, match)
        else:
            # a smiling face alone, unless it went with the stop before it, or a stroke for a danda
            before = text[max(begin, place - 3) : place].rstrip()[-1:]
            is_end = "\u0900" <= before <= "\u097f" if mark == "|" else text[after].isupper() and begin < place
        if is_end and closers and space and quotations.goes_on(text, start, match):
            continue
        # a combining mark behind the space would be torn from it
        if is_end and after < end and (text[after].isascii() or not is_inside_character(text, after)):
            ends.append(after)
            begin = after
    if begin < end:
        ends.append(end)
    return long_text.clauses(text, start, ends) if long_text.has_spaceless_script(text, start, end) else ends


def _hard_ends(text: str, start: int, match: re.Match[str]) -> bool:
    run, closers, _ = match.groups()
    before, following = text[match.start() - 1 : match.start()], text[match.end()]
    # a decimal or an abbreviation in wide characters, or a sentence that goes on after what it quotes
    if following in "、，,;；" or (following.isdigit() and before.isdigit()):
        return False
    if run == "．" and "Ａ" <= before <= "ｚ":
        return False
    if not closers:
        return True
    if closers[0] in "）)":
        return quotations.is_first(text, start, match.start(), closers[0])
    return not quotations.goes_on_without_space(text, start, match)


def _glued_ends(text: str, begin: int, match: re.Match[str]) -> bool:
    """A stop with nothing behind it: between Chinese or Japanese letters, or where a writer forgot the space."""
    place, after = match.start(), match.end()
    before, following = text[place - 1 : place], text[after]
    if following >= "\u2e80":
        is_between = (
            match.group(1)[-1] in SOFT
            and before >= "\u2e80"
            and (following.isalpha() or following in quotations.CJK_OPENERS)
        )
        return is_between and (match.group(1)[-1] != "…" or before in PARTICLES)
    if match.group(2) or not following.isupper() or not full_stops.is_plain_word(text, begin, place, 3):
        return False
    word = WORD.match(text, after, after + REACH)
    return word is not None and word.group().lower() in abbreviations.STARTERS


def _ends_before_lower_case(text: str, begin: int, match: re.Match[str], lower: bool) -> bool:
    run, closers, _ = match.groups()
    place = match.start()
    if run[-1] == "…" or run.startswith(".."):
        return lower and full_stops.is_plain_word(text, begin, place, OPEN)
    if lower:
        return not full_stops.goes_on_in_lower_case(text, begin, place)
    # a dash before the lower-case letter says that the sentence goes on
    if closers or run not in (".", "?") or not text[match.end()].islower():
        return False
    return full_stops.is_plain_word(text, begin, place, PLAIN if run == "." else ASKED)


def _is_lower(text: str, start: int, end: int) -> bool:
    """Whether the writer begins sentences in lower case."""
    head = text[start : min(start + REACH, end)].lstrip(OPENERS)
    return head[:1].islower() and not CAPITAL_BEGINS.search(text, start, end)


def _is_lower_word(text: str, place: int) -> bool:
    """Whether the word at `place`, which begins in lower case, is none like eBay or macOS."""
    word = WORD.match(text, place)
    return word is None or word.group().islower()
