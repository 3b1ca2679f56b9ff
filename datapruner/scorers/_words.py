"""Words of a text in any script, folded so that the same words written in other bytes are the same, and their runs.

Folding: NFKC, Unicode case folding, NFKC again (canonical and compatibility forms are one, so that NFC, NFD and full
width do not matter); then the points that are written or left out at will go: Arabic and Hebrew vowel points, the
tatweel, soft hyphens, joiners and other characters that show nothing.

Words: runs of letters and digits, each with the marks that stand on it (Mn, Mc, Me), so that a Devanagari vowel sign
belongs to its word. In scripts that put no spaces between words each letter with its marks is a token of its own, and
a share of a word: half of one in Chinese and Japanese, a quarter in Thai, Lao, Khmer, Burmese and Tibetan, which is
about what words are long there. A text without words has its visible characters as tokens.

An n-gram is the shortest run of tokens that makes n words: n words, 2n ideographs, 4n Thai letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from datapruner.corpus.uids import hash64, splitmix64

# Han with its extensions and the kana; Thai, Lao, Tibetan, Burmese with its extensions, Khmer
_HAN = "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_ABUGIDA = "\u0e01-\u0eff\u0f40-\u0fbc\u1000-\u109f\u1780-\u17d3\ua9e0-\ua9fe\uaa60-\uaa7f"
# parts of a word: a word has 4
WORD, HAN, ABUGIDA = 4, 2, 1
# Arabic: signs above, vowel points, tatweel, Koranic marks; Hebrew: points and cantillation; what shows nothing
_OPTIONAL = re.compile(
    "[\u0610-\u061a\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u08d3-\u08ff\u0640"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff"
    "\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
# texts that are hashed together: bounds the memory to some 100 bytes a character
BLOCK_CHARACTERS = 1 << 20


def fold(text: str) -> str:
    """`text` as told above; the same for all ways to write it."""
    if text.isascii():
        return text.lower()
    once = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFC", _OPTIONAL.sub("", once))


def words(text: str) -> list[str]:
    """The tokens of `text`, folded; never none: an empty text has the empty token."""
    plain = fold(text)
    found = _ascii_words().findall(plain) if plain.isascii() else _words().findall(plain)
    return found or [character for character in plain if not character.isspace()] or [""]


class Tokens(NamedTuple):
    """The tokens of the texts `texts`, one text after another: hashes uint64 [m] and parts of a word int64 [m].

    `sizes` int64 [texts] are their numbers, `wholes` uint64 [texts] hashes of all tokens of a text.
    """

    texts: slice
    wholes: np.ndarray
    hashes: np.ndarray
    parts: np.ndarray
    sizes: np.ndarray


class Grams(NamedTuple):
    """Runs of tokens: hashes uint64 [m] text by text, in order, repeated ones included, of each text at least one.

    `starts` int64 [texts + 1] says where each text's begin; `first` and `last` int64 [m] are the tokens of the block
    that a run covers, the last one excluded.
    """

    hashes: np.ndarray
    starts: np.ndarray
    first: np.ndarray
    last: np.ndarray


def tokens(texts: Sequence[str]) -> Iterator[Tokens]:
    """The tokens of `texts`, a block of texts at a time; each different one is hashed once."""
    start = 0
    while start < len(texts):
        end, characters = start, 0
        while end < len(texts) and (end == start or characters + len(texts[end]) <= BLOCK_CHARACTERS):
            characters += len(texts[end])
            end += 1
        found = [words(text) for text in texts[start:end]]
        flat = [token for each in found for token in each]
        numbers = {token: number for number, token in enumerate(dict.fromkeys(flat))}
        which = np.fromiter(map(numbers.__getitem__, flat), np.int64, len(flat))
        parts = np.array([_parts(token) for token in numbers], np.int64)
        sizes = np.array([len(each) for each in found], np.int64)
        wholes = hash64([" ".join(each) for each in found])
        yield Tokens(slice(start, end), wholes, hash64(numbers)[which], parts[which], sizes)
        start = end


def runs(block: Tokens, parts: int) -> Grams:
    """From each token on the shortest run of at least `parts` parts of a word, `WORD` to the word, inside its text.

    A text that has fewer is one run.
    """
    ends = block.sizes.cumsum()
    begins = np.repeat(ends - block.sizes, block.sizes)
    places = np.arange(len(block.hashes))
    reach = np.concatenate([[0], block.parts.cumsum()])
    # the first token behind a run that begins here and has enough, and the end of the text where none does
    stop, end = np.searchsorted(reach, reach[:-1] + parts), np.repeat(ends, block.sizes)
    is_run = (stop <= end) | (places == begins)
    first, last = places[is_run], np.minimum(stop, end)[is_run]
    starts = np.concatenate([[0], is_run.cumsum()[ends - 1]])
    return Grams(_run_hashes(block.hashes, first, last), starts, first, last)


def covered_shares(block: Tokens, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The share of each text's tokens that lie in one of the runs from `first` to `last`, float64 [texts]."""
    change = np.zeros(len(block.hashes) + 1, np.int64)
    np.add.at(change, first, 1)
    np.add.at(change, last, -1)
    covered, ends = np.concatenate([[0], (change.cumsum()[:-1] > 0).cumsum()]), block.sizes.cumsum()
    return (covered[ends] - covered[ends - block.sizes]) / block.sizes


def _run_hashes(hashes: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The sum of hashes[j] base^(j - first) over each run, modulo 2^64, mixed: base is odd and so has an inverse.

    From sums of powers, so that a run of any length costs the same.
    """
    base = 0x9E3779B97F4A7C15
    powers = np.full(len(hashes) + 1, base, np.uint64)
    inverse = np.full(len(hashes) + 1, pow(base, -1, 2**64), np.uint64)
    powers[0] = inverse[0] = 1
    powers, inverse = powers.cumprod(dtype=np.uint64), inverse.cumprod(dtype=np.uint64)
    sums = np.concatenate([np.zeros(1, np.uint64), (hashes * powers[:-1]).cumsum(dtype=np.uint64)])
    return splitmix64((sums[last] - sums[first]) * inverse[first], 0)


def _parts(token: str) -> int:
    if token.isascii():
        return WORD
    if re.match(f"[{_HAN}]", token):
        return HAN
    return ABUGIDA if re.match(f"[{_ABUGIDA}]", token) else WORD


@cache
def _ascii_words() -> re.Pattern[str]:
    return re.compile(r"\w+", re.ASCII)


@cache
def _words() -> re.Pattern[str]:
    """Python's \\w has no marks: they are looked up once."""
    marks: list[list[int]] = []
    codes = [code for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M"]
    for code in codes:
        if marks and marks[-1][1] == code - 1:
            marks[-1][1] = code
        else:
            marks.append([code, code])
    mark = "".join(f"{chr(low)}-{chr(high)}" for low, high in marks)
    unspaced = _HAN + _ABUGIDA
    return re.compile(f"[{unspaced}][{mark}]*|(?:[^\\W{unspaced}][{mark}]*)+")
