"""Terms of a text, for lexical matching in any language.

A term is a run of letters, digits and their combining marks, compatibility-normalised (NFKC), case-folded and, in
Latin and Greek script, without accents. Numbers with points ("3.11") are one term, and so are "c++" and "c#". What is
written as one word of several parts gives the whole and its parts: `parse_line`, `parseLine`, a word that a hyphen cuts
at the end of a line. Soft hyphens and characters without a width are left out.
Scripts that write no spaces between words, and Hangul, whose particles cling to their words, give every two
neighbouring characters instead (a lone character gives itself).
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata

# Thai to Lao, Burmese, Khmer, Kana and Han with their extensions, Hangul
PAIRED = (
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)

# thousands with commas, versions and decimals, and languages whose names end in signs
SIGNED = r"\d{1,3}(?:,\d{3}){1,8}(?:\.\d+)?(?![\d,])|\d+(?:\.\d+)+|\b[a-z]\+\+|\b[a-z]\#(?!\w)"
WORD = re.compile(rf"{SIGNED}|\w+")
VERSION = re.compile(r"\b[vV](?=\d+\.\d)")
HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
MARKED = re.compile(r"[^\x00-\x7f]+")
WORDS = re.compile(r"\w+")
# a hyphen at the end of a line, between letters
BREAK = re.compile(r"(?<=[^\W\d_]{2})[-\u2010][ \t]*\r?\n[ \t]*(?=[^\W\d_]{2})")
# and the vowel signs and the stretching of Arabic, which few people write
INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff\u0640\u064b-\u0652\u0670]")


def terms(text: str) -> list[str]:
    """The terms of `text` in order, with repeats."""
    text = INVISIBLE.sub("", text)
    text = VERSION.sub("v ", _with_whole_words(text))
    if HUMP.search(text):
        text = WORDS.sub(lambda match: _with_parts(match[0]), text)
    if text.isascii():
        found = WORD.findall(text.lower())
    else:
        found = _found(without_accents(unicodedata.normalize("NFKC", text).casefold()))
    return [part for word in found for part in _parts(word)] if "_" in text or "," in text else found


def without_accents(text: str) -> str:
    """Case-folded `text` whose Latin and Greek letters have no marks: "ü" is "u", "й" and vowel signs stay."""
    return MARKED.sub(lambda match: "".join(map(_plain, match[0])), unicodedata.normalize("NFC", text))


@functools.lru_cache(1 << 12)
def _plain(letter: str) -> str:
    parts = unicodedata.normalize("NFD", letter)
    is_marked = len(parts) > 1 and unicodedata.name(parts[0], "").startswith(("LATIN", "GREEK"))
    return "".join(part for part in parts if not unicodedata.combining(part)) if is_marked else letter


def _found(folded: str) -> list[str]:
    found: list[str] = []
    for match in _pattern().finditer(folded):
        run = match.group()
        if match.lastgroup == "paired" and len(run) > 1:
            found += [run[at : at + 2] for at in range(len(run) - 1)]
        else:
            found.append(run)
    return found


def _with_whole_words(text: str) -> str:
    """`text`, and before each word that a hyphen cuts at the end of a line the whole word."""
    if "\n" not in text:
        return text
    pieces, at = [], 0
    for cut in BREAK.finditer(text):
        start, end = cut.span()
        while start > at and text[start - 1].isalnum():
            start -= 1
        while end < len(text) and text[end].isalnum():
            end += 1
        pieces += [text[at:start], text[start : cut.start()], text[cut.end() : end], " "]
        at = start
    return "".join([*pieces, text[at:]])


def _with_parts(word: str) -> str:
    """`word` and, behind it, the parts that capital letters begin: "parseLine" and "parse Line"."""
    return f"{word} {HUMP.sub(' ', word)}" if HUMP.search(word) else word


def _parts(word: str) -> list[str]:
    """A number without commas between its thousands; a name with underscores, and what stands between them."""
    if "," in word:
        return [word.replace(",", "")]
    parts = [part for part in word.split("_") if part] if "_" in word else []
    return [word, *parts] if parts and parts != [word] else [word]


@functools.cache
def _pattern() -> re.Pattern[str]:
    # \w leaves out the vowel signs of Indic scripts and other marks, which would cut words apart
    codes = itertools.chain(range(0x300, 0x20000), range(0xE0100, 0xE01F0))
    marks = "".join(chr(code) for code in codes if unicodedata.category(chr(code))[0] == "M")
    return re.compile(rf"(?P<paired>[{PAIRED}]+)|{SIGNED}|(?:(?![{PAIRED}])[\w{marks}])+")
