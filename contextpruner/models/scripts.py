"""The scripts that a text is written in, by the first word of its letters' Unicode names: LATIN, CYRILLIC, CJK."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter

# letters that are read: what a text is written in shows in its beginning
READ = 4000


def letters_by_script(text: str) -> Counter[str]:
    """How many of the letters of the beginning of `text` each script has."""
    found: Counter[str] = Counter()
    for letter, count in Counter(text[:READ]).items():
        if script := _script(letter):
            found[script] += count
    return found


@functools.lru_cache(65536)
def _script(character: str) -> str:
    # marks stand above and below the letters of many scripts, and count with them
    if unicodedata.category(character)[0] not in "LM":
        return ""
    return unicodedata.name(character, "").partition(" ")[0]
