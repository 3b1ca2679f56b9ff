"""The page rules of Gopher, C4 and FineWeb: each says of one page whether it passes. For English web text.

The constants are those of the papers. A page without what a fraction is taken of has the fraction 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

# Rae et al. 2021: two of these are in any English text of 50 words
STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
# Raffel et al. 2020, and the phrases of their published code
END_MARKS = (".", "!", "?", '"')
POLICY = re.compile("terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies|javascript")
MIN_WORDS_PER_LINE, MIN_SENTENCES, MAX_WORD = 5, 3, 1000
# Penedo et al. 2024 count also what ends a line in other scripts
TERMINAL = (*END_MARKS, "'", "”", "’", "。", "！", "？", "…", "।", "؟", "۔", "։", "።")
_SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)")
_PARAGRAPH = re.compile(r"\n{2,}")
_EDGES = "\"'.,;:!?()[]{}*_-“”‘’…"


@dataclass(frozen=True)
class Page:
    """A text, and what several rules ask of it."""

    text: str

    @cached_property
    def words(self) -> list[str]:
        """Runs between white space."""
        return self.text.split()

    @cached_property
    def lines(self) -> list[str]:
        """Those with more than white space on them, without what surrounds it."""
        return [line for line in map(str.strip, self.text.split("\n")) if line]

    def share_of_lines(self, holds: Callable[[str], bool]) -> float:
        return sum(map(holds, self.lines)) / max(len(self.lines), 1)

    def per_word(self, n: int) -> float:
        return n / max(len(self.words), 1)

    @cached_property
    def mean_word(self) -> float:
        return self.per_word(sum(map(len, self.words)))

    @cached_property
    def repeated_lines(self) -> tuple[float, float]:
        return _repeated(self.lines)

    @cached_property
    def repeated_paragraphs(self) -> tuple[float, float]:
        return _repeated([part for part in map(str.strip, _PARAGRAPH.split(self.text)) if part])


def _repeated(parts: Sequence[str]) -> tuple[float, float]:
    """Shares of the parts, and of their characters, that are in a part which came before."""
    characters = sum(map(len, parts))
    unique = dict.fromkeys(parts)
    repeated = len(parts) - len(unique)
    return repeated / max(len(parts), 1), (characters - sum(map(len, unique))) / max(characters, 1)


def _stop_words(page: Page) -> int:
    """How many different stop words there are."""
    return len(STOP_WORDS.intersection(word.strip(_EDGES).lower() for word in page.words))


def _c4_sentences(page: Page) -> int:
    """How many sentences are left on the lines that C4 keeps."""
    return sum(len(_SENTENCE_END.findall(line)) or 1 for line in page.lines if _is_c4_line(line))


def _is_c4_line(line: str) -> bool:
    if not line.endswith(END_MARKS) or line.endswith("..."):
        return False
    words = line.split()
    return len(words) >= MIN_WORDS_PER_LINE and max(map(len, words)) <= MAX_WORD and not POLICY.search(line.lower())


Rule = Callable[[Page], bool]

GOPHER: dict[str, Rule] = {
    "gopher_words": lambda page: 50 <= len(page.words) <= 100_000,
    "gopher_word_length": lambda page: 3 <= page.mean_word <= 10,
    "gopher_hashes": lambda page: page.per_word(page.text.count("#")) <= 0.1,
    "gopher_ellipses": lambda page: page.per_word(page.text.count("...") + page.text.count("…")) <= 0.1,
    "gopher_bullets": lambda page: page.share_of_lines(lambda line: line.startswith(("•", "-"))) <= 0.9,
    "gopher_ellipsis_lines": lambda page: page.share_of_lines(lambda line: line.endswith(("...", "…"))) <= 0.3,
    "gopher_letters": lambda page: page.per_word(sum(any(map(str.isalpha, word)) for word in page.words)) >= 0.8,
    "gopher_stop_words": lambda page: _stop_words(page) >= 2,
}
GOPHER_REPETITION: dict[str, Rule] = {
    "gopher_repeated_lines": lambda page: page.repeated_lines[0] <= 0.3,
    "gopher_repeated_line_characters": lambda page: page.repeated_lines[1] <= 0.2,
    "gopher_repeated_paragraphs": lambda page: page.repeated_paragraphs[0] <= 0.3,
    "gopher_repeated_paragraph_characters": lambda page: page.repeated_paragraphs[1] <= 0.2,
}
# the largest fraction of characters, by the number of words: in the most frequent n-gram, in all duplicate ones
TOP_NGRAMS = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
C4: dict[str, Rule] = {
    "c4_sentences": lambda page: _c4_sentences(page) >= MIN_SENTENCES,
    "c4_lorem_ipsum": lambda page: "lorem ipsum" not in page.text.lower(),
    "c4_curly_bracket": lambda page: "{" not in page.text,
}
FINEWEB: dict[str, Rule] = {
    "fineweb_line_ends": lambda page: page.share_of_lines(lambda line: line.endswith(TERMINAL)) > 0.12,
    "fineweb_short_lines": lambda page: page.share_of_lines(lambda line: len(line) < 30) < 0.67,
    "fineweb_repeated_line_characters": lambda page: page.repeated_lines[1] < 0.1,
}
