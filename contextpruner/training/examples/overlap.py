"""Whether a text is made of texts that a model will be judged by: the share of its shingles that occur there.

A shingle is eight terms in a row (`units.terms`), so that spelling, case and white space do not hide a copy. A text
with fewer terms is one shingle.
"""

from __future__ import annotations

from collections.abc import Iterable

from contextpruner.units.terms import terms

SHINGLE = 8
# from this share on two texts count as the same
LARGEST_SHARE = 0.3


class ShingleSet:
    """The shingles of all `texts`."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._held = {shingle for text in texts for shingle in shingles(text)}

    def share(self, text: str) -> float:
        """The share of the shingles of `text` that are held, in [0, 1]; 0 of a text without terms."""
        own = shingles(text)
        return sum(shingle in self._held for shingle in own) / max(len(own), 1)


def shingles(text: str) -> list[int]:
    """The hashes of all runs of eight terms of `text`, stable within a process."""
    found = terms(text)
    last = max(len(found) - SHINGLE, 0) if found else -1
    return [hash(tuple(found[at : at + SHINGLE])) for at in range(last + 1)]
