"""Terms of a text, for lexical matching in any language.

A term is a run of letters, digits and their combining marks, compatibility-normalised (NFKC) and case-folded.
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

WORD = re.compile(r"\w+")


def terms(text: str) -> list[str]:
    """The terms of `text` in order, with repeats."""
    if text.isascii():
        return WORD.findall(text.lower())
    folded = unicodedata.normalize("NFKC", text).casefold()
    found: list[str] = []
    for match in _pattern().finditer(folded):
        run = match.group()
        if match.lastgroup == "paired" and len(run) > 1:
            found += [run[at : at + 2] for at in range(len(run) - 1)]
        else:
            found.append(run)
    return found


@functools.cache
def _pattern() -> re.Pattern[str]:
    # \w leaves out the vowel signs of Indic scripts and other marks, which would cut words apart
    codes = itertools.chain(range(0x300, 0x20000), range(0xE0100, 0xE01F0))
    marks = "".join(chr(code) for code in codes if unicodedata.category(chr(code))[0] == "M")
    return re.compile(rf"(?P<paired>[{PAIRED}]+)|(?:(?![{PAIRED}])[\w{marks}])+")
