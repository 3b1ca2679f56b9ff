"""Token budgets: over all documents of a question, and for each of them.

The cost of a choice is the sum over documents of count_tokens(kept text); a document of which nothing is kept
costs nothing. Units are tried in their rank (`reorder`), and each is taken, with
all that it leans on, if that still fits, so that a long unit that does not fit makes room for shorter ones behind it.

Counts of pieces do not add up exactly where a tokenizer merges across their edges or adds special tokens. So
units are taken in batches that fit by their own counts; the kept texts are counted as they then stand, and of a
batch that is over the budget the longest beginning that is not over it is kept, found by halving, and the unit behind
that is passed over. The room that is left is offered again. The result is never over the budget, whatever the counter
does. All the trying costs at most about `ROUNDS` times as much as counting every document whole; behind that, room that
is left stays empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from contextpruner.decisions.closure import Dependencies
from contextpruner.decisions.token_counter import TokenCounter, checked_count, count_checked
from contextpruner.units.join import join_kept
from contextpruner.units.split import SplitDocument

ROUNDS = 32


class NoBudget:
    """What `TokenBudget` is where nothing limits the tokens: whatever is asked for is taken."""

    def __init__(self, n_units: int, along: Dependencies) -> None:
        self.along = along
        self.taken = np.zeros(n_units, dtype=bool)
        self.held = np.zeros(n_units, dtype=bool)

    def take(self, ranked: Sequence[int]) -> None:
        """Take all of `ranked`, for its own sake also what is held already."""
        self.taken[ranked] = True
        self.held[ranked] = True
        self.held[[other for _, other in self.along.reached(ranked, lambda one: False)]] = True

    def take_all(self, units: Sequence[int]) -> bool:
        """Take all of `units`."""
        self.take(units)
        return True

    def is_over_each(self, unit: int) -> bool:
        """Never."""
        return False


class TokenBudget:
    """What is kept and what it costs, as the kept texts stand; never more than `most` of all or `most_each` of one.

    `taken` and `held` say which units are kept for their own sake, and which at all, bool [units] over all documents,
    counted through. What is kept with a unit, by `along`, is paid for with it.
    """

    def __init__(
        self,
        documents: Sequence[SplitDocument],
        most: tuple[int | None, int | None],
        count_tokens: TokenCounter,
        along: Dependencies,
    ) -> None:
        self.most, self.most_each = (math.inf if limit is None else limit for limit in most)
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

    def take(self, ranked: Sequence[int]) -> None:
        """Take of the units `ranked`, best first, what fits, in their order."""
        waiting = [unit for unit in ranked if not self.held[unit]]
        while batch := self._affordable(waiting):
            n_taken = self._take_beginning(batch)
            passed_over = batch[n_taken] if n_taken < len(batch) else None
            waiting = [unit for unit in waiting if unit != passed_over and not self.held[unit]]

    def take_all(self, units: Sequence[int]) -> bool:
        """Take all of `units` if they fit, and none of them if not; returns whether they did."""
        return self._take(units)

    def is_over_each(self, unit: int) -> bool:
        """Whether `unit` by itself is more than what is left of its document's own budget."""
        return self.own[unit] + self.costs[self.document_of[unit]] > self.most_each

    def _affordable(self, waiting: Sequence[int]) -> list[int]:
        """The best units of `waiting` that fit by their own counts into the room that is left."""
        room = self.most - sum(self.costs)
        room_of = [self.most_each - cost for cost in self.costs]
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
            if cost <= min(room, room_of[document]):
                room -= cost
                room_of[document] -= cost
                chosen.append(unit)
                held.update(new)
                begun.add(document)
        return chosen

    def _new(self, unit: int, held: set[int]) -> list[int]:
        """`unit` and what is kept with it, without what is `held`, whose own dependencies are held as well."""
        own = [] if unit in held else [unit]
        return [*own, *(one for _, one in self.along.reached([unit], lambda one: one in held or one == unit))]

    def _take_beginning(self, batch: Sequence[int]) -> int:
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
        if sum(self.costs) > self.most or max(self.costs, default=0) > self.most_each:
            self.held[new] = False
            self.costs = before
            return False
        self.taken[list(units)] = True
        return True
