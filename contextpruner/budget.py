"""A token budget over all documents of a question.

The cost of a choice is the sum over documents of count_tokens(kept text); a document of which nothing is kept
costs nothing. Units are tried from the most to the least probable, ties to the earlier, and each is taken, with
all that it leans on, if that still fits, so that a long unit that does not fit makes room for shorter ones behind it.

Counts of pieces do not add up exactly where a tokenizer merges across their edges or adds special tokens. So
the first round takes the units by their own counts, the second takes back the least probable ones until the
kept texts as they stand fit, and the third offers the room that is left to every unit again. The result is
never over the budget, whatever the counter does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contextpruner.document import SplitDocument
from contextpruner.tokens import TokenCounter, count_checked


def within(
    documents: Sequence[SplitDocument],
    ranked: np.ndarray,
    max_tokens: int,
    count_tokens: TokenCounter,
    company: Sequence[Sequence[int]],
) -> np.ndarray:
    """Which units are taken for their own sake, bool [units] over all documents; the budget holds their company too.

    `ranked` holds the units' indices, best first, `company` for each unit those that are kept with it.
    """
    ledger = _Ledger(documents, count_tokens, company)
    ledger.take_by_own_counts(ranked, max_tokens)
    for unit in ranked[::-1]:
        if ledger.total <= max_tokens:
            break
        if ledger.taken[unit]:
            ledger.set(unit, False)
    for unit in ranked:
        if not ledger.holds[unit] and ledger.added(unit) <= max_tokens - ledger.total:
            ledger.set(unit, True)
            if ledger.total > max_tokens:
                ledger.set(unit, False)
    return ledger.taken


class _Ledger:
    """What is kept and what it costs, as the kept texts stand."""

    def __init__(
        self, documents: Sequence[SplitDocument], count_tokens: TokenCounter, company: Sequence[Sequence[int]]
    ) -> None:
        self.count_tokens = count_tokens
        self.bundles = [np.array([unit, *others], dtype=np.int64) for unit, others in enumerate(company)]
        self.texts = [document.texts for document in documents]
        sizes = [len(texts) for texts in self.texts]
        self.document_of = np.repeat(np.arange(len(sizes)), sizes)
        self.first = np.cumsum([0, *sizes])
        self.taken = np.zeros(len(self.document_of), dtype=bool)
        # in how many of the taken bundles each unit stands
        self.holds = np.zeros(len(self.document_of), dtype=np.int64)
        # what a counter adds to any text, say its special tokens, is paid once a document
        self.fixed = max(0, int(count_tokens("")))
        counts = [count_checked(count_tokens, text) for texts in self.texts for text in texts]
        self.own = np.maximum(np.array(counts, dtype=np.int64) - self.fixed, 0)
        self.costs = np.zeros(len(documents), dtype=np.int64)

    @property
    def total(self) -> int:
        return int(self.costs.sum())

    def added(self, unit: int) -> int:
        """What `unit` and the new ones of its company count by themselves."""
        bundle = self.bundles[unit]
        return int(self.own[bundle[self.holds[bundle] == 0]].sum())

    def take_by_own_counts(self, ranked: np.ndarray, max_tokens: int) -> None:
        total = 0
        for unit in ranked:
            # what stands there in somebody's company already has its reason
            if self.holds[unit]:
                continue
            document = self.document_of[unit]
            begun = self.holds[self.first[document] : self.first[document + 1]].any()
            cost = self.added(unit) + (0 if begun else self.fixed)
            if total + cost <= max_tokens:
                total += cost
                self._hold(unit, 1)
        for document in range(len(self.texts)):
            self._recount(document)

    def set(self, unit: int, taken: bool) -> None:
        self._hold(unit, 1 if taken else -1)
        self._recount(self.document_of[unit])

    def _hold(self, unit: int, change: int) -> None:
        self.taken[unit] = change > 0
        self.holds[self.bundles[unit]] += change

    def _recount(self, document: int) -> None:
        held = self.holds[self.first[document] : self.first[document + 1]]
        text = "".join(text for text, count in zip(self.texts[document], held, strict=True) if count)
        self.costs[document] = count_checked(self.count_tokens, text)
