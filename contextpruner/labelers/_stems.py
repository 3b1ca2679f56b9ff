"""Stems: the forms of a word in one, by Snowball's stemmer of its language (Porter 2001, snowballstem.org)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from prunekernels.extras import require

# distinct words that are remembered of each language
REMEMBERED = 1 << 16


def stems(words: Sequence[str], language: str | None) -> list[str]:
    """The stem of each of `words`, terms as `units.terms` gives them; themselves where there is no `language`."""
    return [*words] if language is None else [*map(_stemmer(language), words)]


@functools.cache
def _stemmer(language: str) -> Callable[[str], str]:
    stemmer = require("snowballstemmer", "context").stemmer(language)
    return functools.lru_cache(REMEMBERED)(stemmer.stemWord)
