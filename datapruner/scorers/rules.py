"""The quality rules of Gopher, C4 and FineWeb for English web pages, with their published constants.

    score = share of the rules that the page passes

Higher is better; 1 passes all, which is what the papers keep: select with `threshold:minimum=1`, or look at the detail
`failed`, the names of the rules that the page fails.

gopher             Rae et al. 2021 (arXiv:2112.11446), quality: words, their length and letters, symbols, bullets, stop
                   words (two different ones)
gopher_repetition  the same, repetition: lines, paragraphs, most frequent and duplicate word n-grams
c4                 Raffel et al. 2020 (arXiv:1910.10683): three sentences on lines that end in a mark, have five words
                   and speak of no policy or JavaScript; no "lorem ipsum", no curly bracket. Their list of bad words is
                   not here
fineweb            Penedo et al. 2024 (arXiv:2406.17557): line ends, short lines, characters of repeated lines

Words are runs between white space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.scorers import _page_rules as pages
from datapruner.scorers._last_batch import last_batch
from datapruner.scorers._word_repetition import repetition
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State

SETS = {"gopher": pages.GOPHER, "gopher_repetition": pages.GOPHER_REPETITION, "c4": pages.C4, "fineweb": pages.FINEWEB}
# words whose n-grams are sorted together
BLOCK_WORDS = 1 << 20


@dataclass(frozen=True)
class Rules(Scorer):
    """Paper: Rae et al. 2021 (arXiv:2112.11446), Raffel et al. 2020, Penedo et al. 2024; share of page rules passed.

    `sets` are names joined by "+" of gopher, gopher_repetition, c4, fineweb.
    """

    sets: str = "gopher+gopher_repetition+c4+fineweb"

    direction: ClassVar[str] = "higher passes more rules; 1 passes all"
    cost: ClassVar[str] = "one pass over the text, a sort of its word n-grams"
    default_selector: ClassVar[str] = "threshold:minimum=1"

    def check(self) -> None:
        unknown = [name for name in self.sets.split("+") if name not in SETS]
        if unknown:
            raise ValueError(f"rules.sets wants names joined by '+' of {', '.join(SETS)}, got {unknown[0]!r}")

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        passed = last_batch(self, batch, self._passed)
        return np.mean([*passed.values()], axis=0).astype(np.float32)

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        """`failed`: the names of the rules that the row fails, joined by commas."""
        passed = last_batch(self, batch, self._passed)
        failed = [",".join(name for name, each in passed.items() if not each[row]) for row in range(len(batch))]
        return {"failed": np.array(failed, dtype=str)}

    def _passed(self, batch: Batch) -> dict[str, np.ndarray]:
        """Of each rule whether each row passes, bool [n]."""
        wanted = self.sets.split("+")
        rules = {name: rule for set_name in wanted for name, rule in SETS[set_name].items()}
        found = [pages.Page(text) for text in batch.texts]
        passed = {name: np.array([rule(page) for page in found], dtype=bool) for name, rule in rules.items()}
        return passed | (_ngrams(found) if "gopher_repetition" in wanted else {})


def _ngrams(found: list[pages.Page]) -> dict[str, np.ndarray]:
    """The rules of word n-grams, a block of pages at a time."""
    limits = pages.TOP_NGRAMS | pages.DUPLICATE_NGRAMS
    names = {n: f"gopher_{'top' if n in pages.TOP_NGRAMS else 'duplicate'}_{n}grams" for n in limits}
    passed = {name: np.ones(len(found), dtype=bool) for name in names.values()}
    start = 0
    while start < len(found):
        end, words = start, 0
        while end < len(found) and (end == start or words + len(found[end].words) <= BLOCK_WORDS):
            words += len(found[end].words)
            end += 1
        block = [page.words for page in found[start:end]]
        for n, share in repetition(block, [*pages.TOP_NGRAMS], [*pages.DUPLICATE_NGRAMS]).items():
            passed[names[n]][start:end] = share <= limits[n]
        start = end
    return passed
