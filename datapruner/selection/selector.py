"""The contract of a selector: which rows are kept, exactly as many as asked, and why the others are not.

A selector is a frozen dataclass in `selectors/<name>.py` with a default for every field. It writes `choose` for
the rows of one group, `reasons` where the base's do not say it, and in words what it reads, keeps and costs. What
must be drawn is drawn by the rows' lots, which hang on uid and seed alone: neither ties nor draws hang on the order
of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.selection.candidates import Candidates
from datapruner.selection.groups import Groups, counts, smallest_type


@dataclass(frozen=True, eq=False)
class Choice:
    """What is kept of one group, bool [n]; where given, each row's weight float32 [n] and why it would be dropped.

    `codes` [n] are numbers of `texts`; what they say of a kept row does not count.
    """

    kept: np.ndarray
    codes: np.ndarray | None = None
    texts: Sequence[str] = ()
    weights: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """For every candidate the number of its reason in `reasons`, -1 where kept; `weights` float32, 0 where dropped."""

    codes: np.ndarray
    reasons: tuple[str, ...]
    weights: np.ndarray | None = None

    @property
    def kept(self) -> np.ndarray:
        """Kept indices, ascending int64."""
        return np.flatnonzero(self.codes < 0)


@dataclass(frozen=True)
class Selector:
    """Base of all selectors; `seed` draws the order of ties."""

    seed: int = 0

    # for docs/methods.md, a line each: what it reads of the table, which scores it keeps, and FLOPs or passes
    reads: ClassVar[str] = ""
    direction: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    # False: the rule itself decides how many are kept
    counts: ClassVar[bool] = True
    # False: scores are not looked at
    needs_scores: ClassVar[bool] = True
    # what is kept for a smaller count is kept for a larger one
    nested: ClassVar[bool] = False
    # keeps one end or band of the score and nothing else: worse than a draw where little is kept
    score_only: ClassVar[bool] = False

    def choose(self, candidates: Candidates, n: int) -> Choice:
        """Keep `n` of `candidates`, which are of one group; `n` is 0 where the rule decides (`counts`)."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise where the fields cannot work, before anything is read."""

    def most(self, n_rows: int) -> int:
        """The largest count that `choose` can keep of `n_rows`."""
        return n_rows

    def default_by(self) -> str | None:
        """The column that is selected by where none is named, None: the only one."""
        return None

    def ranked(self) -> str | None:
        """Of a rule that has no count: the text form of the rule that keeps an exact count at the same end."""
        return None

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, Sequence[str]]:
        """Why rows of one group are dropped: for every candidate the number of a text, and the texts."""
        scores, by = candidates.scores, candidates.by
        if not kept.any():
            return np.zeros(len(candidates), dtype=np.int8), ["its share is 0 rows"]
        low, high = (found.item() for found in (scores[kept].min(), scores[kept].max()))
        codes = (scores > high).view(np.int8)
        # of a single value that is kept both ends are the same: the lower says it
        for value, code in ((high, 3), (low, 2)):
            codes[scores == value] = code
        codes[(scores > low) & (scores < high)] = 4
        return codes, [
            f"{by} below {low:.6g}, the lowest that is kept",
            f"{by} above {high:.6g}, the highest that is kept",
            f"{by} ties at {low:.6g}, the lowest that is kept: drawn by uid",
            f"{by} ties at {high:.6g}, the highest that is kept: drawn by uid",
            f"{by} between {low:.6g} and {high:.6g}: not drawn",
        ]

    def select(self, candidates: Candidates, n_keep: int | Sequence[int] = 0, groups: Groups | None = None) -> Outcome:
        """Choose `n_keep` rows (one count a group) and say why the others go; raises ValueError for a NaN score."""
        self._check(candidates)
        codes = np.full(len(candidates), -1, dtype=np.int8)
        weights: np.ndarray | None = None
        texts: dict[str, int] = {}
        wanted = [n_keep] if isinstance(n_keep, int) else n_keep
        for (prefix, members), n in zip(_each(candidates, groups), wanted, strict=True):
            part = candidates if members is None else candidates.take(members)
            choice = self._choose(part, n, prefix)
            found = self._explain(part, choice, prefix, texts)
            if len(texts) > np.iinfo(codes.dtype).max:
                codes = codes.astype(smallest_type(len(texts), signed=True))
            if members is None:
                codes, weights = found, choice.weights
                continue
            codes[members] = found
            if choice.weights is not None:
                weights = np.zeros(len(candidates), dtype=np.float32) if weights is None else weights
                weights[members] = choice.weights
        return Outcome(codes, tuple(texts), weights)

    def _check(self, candidates: Candidates) -> None:
        self.check()
        # a minimum is NaN where any value is, and costs no memory
        if self.needs_scores and len(candidates) and np.isnan(candidates.scores.min()):
            place = int(np.isnan(candidates.scores).argmax())
            row = place if candidates.at is None else int(candidates.at[place])
            raise ValueError(f"want scores that are numbers, got NaN in row {row} of {candidates.by!r}")

    def _choose(self, candidates: Candidates, n: int, prefix: str) -> Choice:
        if not self.counts:
            return self.choose(candidates, 0)
        if not 0 <= n <= len(candidates):
            raise ValueError(f"{prefix}want a count in [0, {len(candidates)}], got {n}")
        choice = self.choose(candidates, n)
        if np.count_nonzero(choice.kept) != n:
            raise RuntimeError(f"{type(self).__name__} kept {np.count_nonzero(choice.kept)} rows, {n} were wanted")
        return choice

    def _explain(self, candidates: Candidates, choice: Choice, prefix: str, texts: dict[str, int]) -> np.ndarray:
        """Numbers in `texts` of the dropped, -1 of the kept; a text that no dropped row has is left out."""
        if choice.kept.all():
            return np.full(len(candidates), -1, dtype=np.int8)
        codes, found = (choice.codes, choice.texts) if choice.codes is not None else self._reasons(candidates, choice)
        used = np.flatnonzero(counts(codes[~choice.kept], len(found)))
        numbers = [texts.setdefault(prefix + found[code], len(texts)) for code in used.tolist()]
        renumber = np.zeros(len(found), dtype=smallest_type(max(127, len(texts)), signed=True))
        renumber[used] = numbers
        result = renumber[codes]
        result[choice.kept] = -1
        return result

    def _reasons(self, candidates: Candidates, choice: Choice) -> tuple[np.ndarray, Sequence[str]]:
        return self.reasons(candidates, choice.kept)


def _each(candidates: Candidates, groups: Groups | None) -> Iterator[tuple[str, np.ndarray | None]]:
    """The prefix of its reasons and the members of each group; one of all rows where there are none."""
    if groups is None:
        yield "", None
        return
    for name, members in zip(groups.names, groups.members(), strict=True):
        yield f"{name}: ", members
