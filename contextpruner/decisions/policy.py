"""Policies: from probabilities to kept units, each kept or dropped for a reason.

Whatever rules are combined (`rules`), they are gone through in this order:

    1  documents     only those of the `top_documents` best scores go on               below_top_documents
    2  protection    units in which `protect` matches, and documents that are `protected`, are kept; they count for no
                     other rule, but a budget pays for them first, and one that cannot is refused
                                                                                       protected
    3  least         at least `threshold`, or what the calibration gives for `target_recall`; above 0 where neither is
                     given                                                             below_threshold, irrelevant
                     and at least `share_of_best` of the question's best               below_share_of_best
    4  copies        with `redundancy` those of a better-ranked unit go                copy of 1.3
    5  rank          by probability, or with `mmr` by marginal relevance (`reorder`)
    6  at least      the best of each document, up to `min_document_units` and `min_document_tokens`, come first, also
                     where they did not pass 3, unless their probability is 0          at_least
    7  at most       the best `max_document_units` of each document                    over_document_limit
                     of these the best `top_k`                                         below_top_k
                     of these, in their rank, what fits `max_document_tokens` and `max_tokens` (`token_budget`)
                                                                                       over_document_limit, over_budget
                     a copy whose original did not stay gets its place in 7
    8  nothing       where nothing passed, `empty` decides: "keep_best" keeps the best unit, "original" everything,
                     "empty" nothing; for the question, or each document by itself     keep_best, original
    9  neighbours    what stands before and behind the kept units, the nearest first   neighbour

What a kept unit leans on is kept with it (`closure`), in every step: beyond the counts of `top_k` and
`max_document_units`, within budgets, which hold in any case: what does not fit is not brought back. No unit of
probability 0 is kept for its own sake, unless a threshold of 0 asks for it. A budget holds for the kept texts of the
documents; what is put between them, say a blank line or citation labels, is not in it.

No step hangs on the order of the documents, unless two are alike in everything. Without tokens, `redundancy` and `mmr`,
and where something passes, a lower threshold or share, or a larger `top_k`, keeps all that was kept, and perhaps more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from contextpruner.decisions.closure import Dependencies
from contextpruner.decisions.patterns import Pattern
from contextpruner.decisions.redundancy import copies
from contextpruner.decisions.reorder import Ranking, best_documents, by_marginal_relevance, ranked_units
from contextpruner.decisions.rules import COPY, KEPT, Policy, Reason
from contextpruner.decisions.token_budget import NoBudget, TokenBudget
from contextpruner.decisions.token_counter import TokenCounter, count_checked
from contextpruner.units.join import join_kept
from contextpruner.units.split import SplitDocument


def choose(  # noqa: PLR0913 - what a labeler says, and what is made of it
    policy: Policy,
    documents: Sequence[SplitDocument],
    probabilities: Sequence[np.ndarray],
    count_tokens: TokenCounter,
    threshold: float | None = None,
    ranking: Ranking | None = None,
) -> list[list[Reason]]:
    """Why each unit of each document is kept or dropped; the kept ones are those of `rules.is_kept`.

    `threshold` is what a calibration gives where the policy has a target recall; without a `ranking` a document is
    worth as much as its best unit. Raises ValueError where a budget cannot hold what is protected.
    """
    if policy.target_recall is not None and threshold is None:
        raise ValueError("want the threshold of a calibration for target_recall, got none")
    least = policy.threshold if policy.target_recall is None else threshold
    if ranking is None:
        ranking = Ranking(np.array([values.max(initial=0) for values in probabilities], dtype=np.float32))
    choice = _Choice(policy, documents, probabilities, ranking)
    choice.limit(count_tokens)
    choice.keep_protected()
    passing = choice.passing(least)
    wanted = choice.wanted(passing, least, count_tokens)
    choice.keep_best(wanted)
    choice.rescue()
    choice.keep_neighbours()
    return choice.reasons_of_documents()


class _Choice:
    """The units of all documents, counted through, and why each is kept or dropped so far."""

    def __init__(
        self,
        policy: Policy,
        documents: Sequence[SplitDocument],
        probabilities: Sequence[np.ndarray],
        ranking: Ranking,
    ) -> None:
        self.policy, self.documents, self.ranking = policy, documents, ranking
        self.kept_by = KEPT[policy.rule]
        self.units = [unit for document in documents for unit in document.units]
        self.edges = np.cumsum([0, *map(len, probabilities)]).tolist()
        self.document_of = np.repeat(np.arange(len(documents)), [*map(len, probabilities)]).astype(int)
        self.competes = np.array([unit.competes and unit.kind != "markup" for unit in self.units], dtype=bool)
        self.flat = np.concatenate([*probabilities, np.zeros(0, np.float32)])
        self.flat[~self.competes] = 0
        # markup says nothing: it is kept with the whole document or not at all
        self.flat[[unit.kind == "markup" for unit in self.units]] = -1
        n_documents = len(documents) if policy.top_documents is None else policy.top_documents
        best = best_documents(ranking.scores, [document.document for document in documents])[:n_documents]
        self.goes_on = np.isin(self.document_of, best)
        self.reasons: list[Reason] = [""] * len(self.units)
        # kept by rules, in their rank, and how many of them count for a ceiling
        self.passed: list[int] = []
        self.n_of_document: Counter[int] = Counter()
        self.n_counted = 0
        self.copies: dict[int, int] = {}

    def limit(self, count_tokens: TokenCounter) -> None:
        """Set up what is held, under the budgets."""
        policy, limits = self.policy, (self.policy.max_tokens, self.policy.max_document_tokens)
        is_limited = limits != (None, None)
        # a list that is asked for as a whole fills a budget item by item
        along = Dependencies(self.documents, policy.closure, None if is_limited else self.flat)
        self.budget: NoBudget | TokenBudget = NoBudget(len(self.units), along)
        if is_limited:
            self.budget = TokenBudget(self.documents, limits, count_tokens, along)

    def keep_protected(self) -> None:
        patterns = [Pattern(pattern) for pattern in self.policy.protect]
        if not patterns and not any(document.document.protected for document in self.documents):
            return
        texts = [text for document in self.documents for text in document.texts]
        protected = [
            unit
            for unit, text in enumerate(texts)
            if self.documents[self.document_of[unit]].document.protected
            or any(pattern.found(text.rstrip()) for pattern in patterns)
        ]
        if not self.budget.take_all(protected):
            raise ValueError("want a budget that holds what is protected, got one of fewer tokens")
        self._give("protected", protected)

    def passing(self, least: float | None) -> np.ndarray:
        """Which units pass the rules for documents and probabilities, bool [units]."""
        # as float32, so that a unit whose probability prints as the threshold passes it
        passes = self.flat > 0 if least is None else self.flat >= np.float32(least)
        self._give("irrelevant" if least is None else "below_threshold", np.flatnonzero(~passes))
        if self.policy.share_of_best is not None:
            best = self.flat[self.goes_on].max(initial=0)
            reaches = self.flat >= np.float32(self.policy.share_of_best) * best
            self._give("below_share_of_best", np.flatnonzero(passes & ~reaches))
            passes &= reaches
        self._give("below_top_documents", np.flatnonzero(~self.goes_on))
        return passes & self.goes_on & ~self.budget.taken

    def wanted(self, passing: np.ndarray, least: float | None, count_tokens: TokenCounter) -> list[int]:
        """The units that are wanted, best first: what each document should have at least, then what is `passing`."""
        policy = self.policy
        may_be_kept = self.goes_on & ~self.budget.taken & self.competes
        may_be_kept &= self.flat >= 0 if least == 0 else self.flat > 0
        # what is no answer by itself comes last, and only where all is asked for
        ranked = ranked_units(self.documents, np.where(self.competes, self.flat, -0.5), passing | may_be_kept)
        if policy.redundancy is not None:
            self.copies = copies(self.documents, ranked.tolist(), policy.redundancy)
        ranked = np.array([unit for unit in ranked if unit not in self.copies], dtype=int)
        first = self._at_least(ranked[may_be_kept[ranked]], count_tokens)
        self._give("at_least", [unit for unit in first if not passing[unit]])
        self.copies = {copy: original for copy, original in self.copies.items() if passing[copy]}
        ranked = ranked[passing[ranked]]
        if policy.mmr is not None:
            ranked = by_marginal_relevance(ranked, self.flat, policy.mmr, self.documents, self.ranking)
        return list(dict.fromkeys([*first, *ranked.tolist()]))

    def _at_least(self, ranked: np.ndarray, count_tokens: TokenCounter) -> list[int]:
        """The units that reach what each document should have at least, best first."""
        n_units, n_tokens = self.policy.min_document_units or 0, self.policy.min_document_tokens or 0
        chosen: set[int] = set()
        for number, document in enumerate(self.documents if n_units or n_tokens else ()):
            own = ranked[self.document_of[ranked] == number].tolist()
            chosen.update(own[:n_units])
            texts, kept = document.texts, np.zeros(len(document.units), dtype=bool)
            for unit in own if n_tokens else ():
                if unit not in chosen and count_checked(count_tokens, join_kept(texts, kept)) >= n_tokens:
                    break
                chosen.add(unit)
                along = (other for _, other in self.budget.along.of(unit))
                kept[[one - self.edges[number] for one in (unit, *along)]] = True
        return [unit for unit in ranked.tolist() if unit in chosen]

    def keep_best(self, wanted: Sequence[int]) -> None:
        """Take what the ceilings hold of `wanted`, best first, and then of the copies of what they did not hold."""
        self._take(wanted)
        instead: dict[int, int] = {}
        for copy, original in self.copies.items():
            kept = instead.get(original, original)
            if self.budget.held[kept]:
                number = self.document_of[kept]
                self.reasons[copy] = f"{COPY}{number + 1}.{kept - self.edges[number] + 1}"
            else:
                self._take([copy])
                instead[original] = copy

    def _take(self, units: Sequence[int]) -> None:
        policy, candidates = self.policy, list[int]()
        for unit in units:
            number = int(self.document_of[unit])
            if policy.max_document_units is not None and self.n_of_document[number] >= policy.max_document_units:
                self.reasons[unit] = "over_document_limit"
            elif policy.top_k is not None and self.n_counted >= policy.top_k:
                self.reasons[unit] = "below_top_k"
            else:
                self.n_of_document[number] += 1
                self.n_counted += 1
                candidates.append(unit)
        self.budget.take(candidates)
        for unit in candidates:
            if self.budget.taken[unit]:
                self.passed.append(unit)
                self.reasons[unit] = "at_least" if self.reasons[unit] == "at_least" else self.kept_by
            else:
                self.reasons[unit] = "over_document_limit" if self.budget.is_over_each(unit) else "over_budget"

    def keep_neighbours(self) -> None:
        before, behind = self.policy.neighbours
        if not (before or behind):
            return
        seen = [unit for unit, one in enumerate(self.units) if one.kind != "markup"]
        place = {unit: at for at, unit in enumerate(seen)}
        near = list[int]()
        for distance in range(1, max(before, behind) + 1):
            for unit in self.passed:
                steps = [*([-distance] if distance <= before else []), *([distance] if distance <= behind else [])]
                others = [seen[place[unit] + step] for step in steps if 0 <= place[unit] + step < len(seen)]
                near += [other for other in others if self.document_of[other] == self.document_of[unit]]
        wanted = [unit for unit in dict.fromkeys(near) if not self.budget.held[unit]]
        self.budget.take(wanted)
        self._give("neighbour", [unit for unit in wanted if self.budget.taken[unit]])

    def rescue(self) -> None:
        """Do what the policy says where nothing passed, of the question or of a document."""
        everything = np.flatnonzero(self.goes_on).tolist()
        groups: Iterable[list[int]] = [everything]
        if self.policy.empty_per == "document":
            groups = ([one for one in range(*ends) if self.goes_on[one]] for ends in self._ends())
        having = {int(self.document_of[unit]) for unit in self.passed}
        for group in groups:
            numbers = {int(self.document_of[unit]) for unit in group}
            if not group or numbers & having:
                continue
            own = [unit for unit in group if not self.budget.taken[unit]]
            if self.policy.empty == "original" and self.budget.take_all(own):
                self._give("original", own)
            elif self.policy.empty == "keep_best":
                self._keep_one(own)

    def _keep_one(self, group: Sequence[int]) -> None:
        is_one = np.zeros(len(self.units), dtype=bool)
        is_one[group] = self.competes[group] & (self.flat[group] > 0)
        best = ranked_units(self.documents, self.flat, is_one)[:1].tolist()
        self.budget.take(best)
        kept = [unit for unit in best if self.budget.taken[unit]]
        self.passed += kept
        self._give("keep_best", kept)

    def reasons_of_documents(self) -> list[list[Reason]]:
        """The reasons, with what is kept along."""
        chosen = np.flatnonzero(self.budget.taken).tolist()
        for kind, other in self.budget.along.reached(chosen, set(chosen).__contains__):
            self.reasons[other] = kind
        return [self.reasons[start:end] for start, end in self._ends()]

    def _ends(self) -> Iterator[tuple[int, int]]:
        return zip(self.edges, self.edges[1:], strict=False)

    def _give(self, reason: Reason, units: Iterable[int]) -> None:
        for unit in units:
            if reason in ("protected", "neighbour", "keep_best", "original") or not self.budget.taken[unit]:
                self.reasons[unit] = reason
