"""What may be kept: a budget in rows or in tokens, and how groups share it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prunekernels import budget


@dataclass(frozen=True)
class Budget:
    """How much is kept, by exactly one of: `rows`, `tokens` (at most), and the fractions `ratio` and `token_ratio`.

    Tokens are counted as the table did, or by the column `counted_by`.
    """

    rows: int | None = None
    tokens: int | None = None
    ratio: float | None = None
    token_ratio: float | None = None
    counted_by: str | None = None

    def __post_init__(self) -> None:
        given = self.given()
        if len(given) != 1:
            raise ValueError(f"want exactly one of rows, tokens, ratio, token_ratio, got {', '.join(given) or 'none'}")
        for name, value in given.items():
            if name in ("ratio", "token_ratio"):
                budget.check_keep_ratio(value)
            elif isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"want {name} as a whole number of at least 1, got {value!r}")

        if self.counted_by is not None and not self.counts_tokens:
            raise ValueError(f"want counted_by={self.counted_by!r} beside a number of tokens, got {', '.join(given)}")

    def given(self) -> dict[str, int | float]:
        """The one number that is asked, by its name."""
        fields = {name: getattr(self, name) for name in ("rows", "tokens", "ratio", "token_ratio")}
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def counts_tokens(self) -> bool:
        """Whether it is spent in tokens."""
        return self.tokens is not None or self.token_ratio is not None

    def amount(self, available: int) -> int:
        """The rows or tokens that may be kept of `available`; raises where more rows are wanted than there are."""
        if self.rows is not None:
            if self.rows > available:
                raise ValueError(f"want a budget of at most the {available} rows that compete, got {self.rows}")
            return self.rows
        if self.ratio is not None:
            return budget.n_keep(available, self.ratio)
        if self.tokens is not None:
            return min(self.tokens, available)
        return math.floor(available * (self.token_ratio or 0) + 1e-9)


@dataclass(frozen=True)
class Per:
    """Select inside each group of `column`, and how groups share the budget.

    `quota` is "kept" (as their sizes), "equal" (what small groups cannot fill goes to the others) or shares by
    name, in any unit; a group without a share keeps nothing. `counts` are rows by name and are the budget
    themselves, a group that is not named keeps nothing.
    """

    column: str
    quota: str | Mapping[str, float] = "kept"
    counts: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if self.counts is not None:
            _check_counts(self.quota, self.counts)
        elif isinstance(self.quota, str):
            if self.quota not in ("kept", "equal"):
                raise ValueError(f'want the quota "kept", "equal" or shares by group, got {self.quota!r}')
        elif not self.quota or not all(_is_share(share) for share in self.quota.values()) or not any(self._shares()):
            raise ValueError(f"want shares of at least 0, one of them more, got {dict(self.quota)}")

    def _shares(self) -> list[float]:
        return [] if isinstance(self.quota, str) else [*self.quota.values()]

    def share_out(self, total: int, names: Sequence[str], sizes: Sequence[int]) -> list[int]:
        """`total` over the groups `names`, of which none takes more than its of `sizes`; exact."""
        if isinstance(self.quota, str):
            weights = None if self.quota == "kept" else [1.0] * len(names)
            return budget.allocate(total, sizes, weights).tolist()
        refuse_unknown(self.quota, names)
        shares = [float(self.quota.get(name, 0)) for name in names]
        # a group without a share must not take what others cannot fill
        room = [size if share > 0 else 0 for size, share in zip(sizes, shares, strict=True)]
        if sum(room) < total:
            raise ValueError(f"want groups with shares that hold {total}, got {sum(room)} in {', '.join(self.quota)}")
        return budget.allocate(total, room, shares).tolist()

    def given_counts(self, names: Sequence[str], sizes: Sequence[int]) -> list[int]:
        """`counts` in the order of `names`; raises where a group is not there or too small."""
        counts = self.counts or {}
        refuse_unknown(counts, names)
        for name, size in zip(names, sizes, strict=True):
            if counts.get(name, 0) > size:
                raise ValueError(f"group {name!r} has {size} rows, wanted are {counts[name]}")
        return [counts.get(name, 0) for name in names]


def as_budget(keep_ratio: float | Budget) -> Budget:
    """A budget from itself or from the fraction of rows that is kept."""
    return keep_ratio if isinstance(keep_ratio, Budget) else Budget(ratio=keep_ratio)


def as_per(per: str | Per) -> Per:
    """The groups' rule from itself or from the column's name."""
    return per if isinstance(per, Per) else Per(per)


def refuse_unknown(named: Mapping[str, float], names: Sequence[str]) -> None:
    """Raise where a group is named that is not there."""
    unknown = sorted(named.keys() - set(names))
    if unknown:
        raise ValueError(f"want groups of {', '.join(names)}, got {', '.join(unknown)}")


def _is_share(share: float) -> bool:
    return not isinstance(share, bool) and isinstance(share, int | float) and math.isfinite(share) and share >= 0


def _check_counts(quota: str | Mapping[str, float], counts: Mapping[str, int]) -> None:
    if quota != "kept":
        raise ValueError("want either a quota or counts, got both")
    whole = all(not isinstance(n, bool) and isinstance(n, int) and n >= 0 for n in counts.values())
    if not whole or not sum(counts.values()):
        raise ValueError(f"want counts of whole rows, together at least 1, got {dict(counts)}")
