"""A token budget over all documents of a question.

The cost of a choice is the sum over documents of count_tokens(kept text); a document of which nothing is kept
costs nothing. Units are tried from the most to the least probable, ties to the earlier, and each is taken, with
all that it leans on, if that still fits, so that a long unit that does not fit makes room for shorter ones behind it.

Counts of pieces do not add up exactly where a tokenizer merges across their edges or adds special tokens. So
units are taken in batches that fit by their own counts; the kept texts are counted as they then stand, and of a
batch that is over the budget the longest beginning that is not over it is kept, found by halving, and the unit behind
that is passed over. The room that is left is offered again. The result is never over the budget, whatever the counter
does. All the trying costs at most about `ROUNDS` times as much as counting every document whole; behind that, room that
is left stays empty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contextpruner.decisions.closure import Dependencies
from contextpruner.decisions.token_counter import TokenCounter, checked_count, count_checked
from contextpruner.units.join import join_kept
from contextpruner.units.split import SplitDocument

ROUNDS = 32


def within_budget(
    documents: Sequence[SplitDocument],
    ranked: np.ndarray,
    max_tokens: int,
    count_tokens: TokenCounter,
    along: Dependencies,
) -> np.ndarray:
    """Which units are taken for their own sake, bool [units] over all documents; their dependencies are paid for too.

    `ranked` holds the units' indices, best first; `along` says what is kept with each.
    """
    search = _BudgetSearch(documents, max_tokens, count_tokens, along)
    waiting = ranked.tolist()
    while batch := search.affordable(waiting):
        taken = search.take_beginning(batch)
        passed_over = batch[taken] if taken < len(batch) else None
        waiting = [unit for unit in waiting if unit != passed_over and not search.held[unit]]
    return search.taken


class _BudgetSearch:
    """What is kept and what it costs, as the kept texts stand; never more than `max_tokens`."""

    def __init__(
        self,
        documents: Sequence[SplitDocument],
        max_tokens: int,
        count_tokens: TokenCounter,
        along: Dependencies,
    ) -> None:
        self.max_tokens = max_tokens
        self.count_tokens = count_tokens
        self.along = along
        self.texts = [document.texts for document in documents]
        sizes = [len(texts) for texts in self.texts]
        self.document_of = np.repeat(np.arange(len(sizes)), sizes).tolist()
        self.first = np.cumsum([0, *sizes]).tolist()
        self.taken = np.zeros(len(self.document_of), dtype=bool)
        self.held = np.zeros(len(self.document_of), dtype=bool)
        # what a counter adds to any text, say its special tokens, is paid once a document
        self.fixed = checked_count(count_tokens(""))
        counts = [count_checked(count_tokens, text) for texts in self.texts for text in texts]
        self.own = [max(count - self.fixed, 0) for count in counts]
        self.costs = [0] * len(documents)
        # characters that may still be counted, or units looked at
        self.work = ROUNDS * sum(len(document.document.text) for document in documents)

    def affordable(self, waiting: Sequence[int]) -> list[int]:
        """The best units of `waiting` that fit by their own counts into the room that is left."""
        room = self.max_tokens - sum(self.costs)
        chosen: list[int] = []
        if self.work <= 0:
            return chosen
        self.work -= len(waiting)
        held, begun = set(np.flatnonzero(self.held).tolist()), {at for at, cost in enumerate(self.costs) if cost}
        for unit in waiting:
            # what is kept with another unit already has its reason
            if unit in held:
                continue
            new = self._new(unit, held)
            # each may be looked at again and again where it never fits
            self.work -= len(new)
            if self.work <= 0:
                break
            document = self.document_of[unit]
            cost = sum(self.own[one] for one in new) + (0 if document in begun else self.fixed)
            if cost <= room:
                room -= cost
                chosen.append(unit)
                held.update(new)
                begun.add(document)
        return chosen

    def _new(self, unit: int, held: set[int]) -> list[int]:
        """`unit` and what is kept with it, without what is `held`, whose own dependencies are held as well."""
        if unit in held:
            return []
        return [unit, *(one for _, one in self.along.reached([unit], lambda one: one in held or one == unit))]

    def take_beginning(self, batch: Sequence[int]) -> int:
        """Take as many units from the head of `batch` as the budget holds; returns how many."""
        low, high = 0, len(batch) + 1
        middle = len(batch)
        while low + 1 < high:
            if self._take(batch[low:middle]):
                low = middle
            else:
                high = middle
            middle = (low + high) // 2
        return low

    def _take(self, units: Sequence[int]) -> bool:
        """Take all of `units` if the kept texts then fit, and none of them if not."""
        held = set(np.flatnonzero(self.held).tolist())
        new: list[int] = []
        for unit in units:
            found = self._new(unit, held)
            held.update(found)
            new += found
        before = list(self.costs)
        self.held[new] = True
        for document in {self.document_of[unit] for unit in units}:
            kept = self.held[self.first[document] : self.first[document + 1]]
            text = join_kept(self.texts[document], kept)
            self.costs[document] = count_checked(self.count_tokens, text)
            self.work -= len(text)
        if sum(self.costs) > self.max_tokens:
            self.held[new] = False
            self.costs = before
            return False
        self.taken[list(units)] = True
        return True
