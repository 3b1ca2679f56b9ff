"""The contract of a selector: which rows are kept, exactly as many as asked, and why the others are not.

A selector is a frozen dataclass in `selectors/<name>.py` with a default for every field. It writes `choose`, and
`reasons` where the base's do not say it. It sees the rows in the order of a hash of their uids, and ties go to
the lower index: so neither ties nor draws hang on the order of the rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.uids import mix


@dataclass(frozen=True)
class Candidates:
    """Rows that compete: scores float32 [n], keys uint64 [n] (hashes of their uids), group ids int64 [n].

    `by` and `groups` are the names of the score and of the groups, for reasons; without groups all ids are 0.
    """

    scores: torch.Tensor
    keys: np.ndarray
    group_ids: torch.Tensor
    by: str = "score"
    groups: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, indices: np.ndarray) -> Candidates:
        """The candidates `indices`, in that order."""
        at = torch.from_numpy(indices)
        return dataclasses.replace(self, scores=self.scores[at], keys=self.keys[indices], group_ids=self.group_ids[at])


@dataclass(frozen=True)
class Outcome:
    """Kept indices, ascending int64; for every candidate the number of its reason in `reasons`, -1 where kept."""

    kept: np.ndarray
    codes: np.ndarray
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Selector:
    """Base of all selectors; `seed` draws the order of ties."""

    seed: int = 0

    # False: the rule itself decides how many are kept
    counts: ClassVar[bool] = True
    # False: scores are not looked at
    needs_scores: ClassVar[bool] = True

    def choose(self, candidates: Candidates, n_keep: Sequence[int]) -> torch.Tensor:
        """Ascending indices of the kept: `n_keep` of each group, empty where the rule decides (`counts`)."""
        raise NotImplementedError

    def reasons(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Why rows of one group are dropped: for every candidate the number of a text, and the texts.

        `kept` bool [n] says which are kept; what is said of those does not count.
        """
        scores, by = candidates.scores.numpy(), candidates.by
        if not kept.any():
            return np.zeros(len(candidates), dtype=np.int64), ["its share is 0 rows"]
        low, high = scores[kept].min(), scores[kept].max()
        codes = np.select([scores < low, scores > high, scores == low], [0, 1, 2], 3)
        return codes, [
            f"{by} below {low:.6g}, the lowest that is kept",
            f"{by} above {high:.6g}, the highest that is kept",
            f"{by} ties at {low:.6g}, the lowest that is kept: drawn by uid",
            f"{by} ties at {high:.6g}, the highest that is kept: drawn by uid",
        ]

    def select(self, candidates: Candidates, n_keep: Sequence[int] = ()) -> Outcome:
        """Choose `n_keep` rows of each group and say why the others go; raises ValueError for a NaN score."""
        if self.needs_scores and candidates.scores.isnan().any():
            wrong = int(candidates.scores.isnan().nonzero()[0])
            raise ValueError(f"want scores that are numbers, got NaN in row {wrong} of {candidates.by!r}")
        order = np.argsort(mix(candidates.keys, self.seed), kind="stable")
        ordered = candidates.take(order)
        chosen = self.choose(ordered, n_keep).numpy()
        if self.counts and len(chosen) != sum(n_keep):
            raise RuntimeError(f"{type(self).__name__} kept {len(chosen)} rows, {sum(n_keep)} were wanted")
        kept = np.zeros(len(candidates), dtype=bool)
        kept[order[chosen]] = True
        codes, texts = self._explain(candidates, kept)
        return Outcome(np.flatnonzero(kept), codes, texts)

    def _explain(self, candidates: Candidates, kept: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """Reasons group by group; a text that no dropped row has is left out."""
        texts: dict[str, int] = {}
        numbers = np.full(len(candidates), -1, dtype=np.int32)
        by_group = np.argsort(candidates.group_ids.numpy(), kind="stable")
        lengths = np.bincount(candidates.group_ids.numpy())
        for members in np.split(by_group, lengths.cumsum()[:-1]):
            dropped = ~kept[members]
            if not dropped.any():
                continue
            codes, found = self.reasons(candidates.take(members), kept[members])
            used = np.unique(codes[dropped])
            group = int(candidates.group_ids[members[0]])
            prefix = "" if candidates.groups is None else f"{candidates.groups[group]}: "
            renumber = np.zeros(len(found), dtype=np.int32)
            renumber[used] = [texts.setdefault(prefix + found[code], len(texts)) for code in used.tolist()]
            numbers[members[dropped]] = renumber[codes[dropped]]
        return numbers, tuple(texts)
