"""Which columns of a sequence are left: those of each row last, in order, rows filled up on the left."""

from __future__ import annotations

from dataclasses import dataclass

import torch


def kept_index(mask: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
    """The columns [B, P] that stay of [B, L], each row's last ones real and in order, filled up on the left."""
    kept = mask & ~dropped
    length = int(kept.sum(1).max())
    # a stable sort of False before True: each row ends with its kept tokens, in order
    return kept.long().argsort(dim=1, stable=True)[:, kept.shape[1] - length :]


@dataclass(frozen=True)
class KeptTokens:
    """Columns `index` int64 [B, P] of the L that entered, real where `mask` bool [B, P] is True.

    The last `n_last` columns that entered are there in every row, in a row and without padding behind them. `is_whole`
    is True where nothing has been cut; behind a cut P may still be L, where a row without images is the longest.
    """

    index: torch.Tensor
    mask: torch.Tensor
    length: int
    n_last: int
    is_whole: bool = False

    @classmethod
    def whole(cls, mask: torch.Tensor) -> KeptTokens:
        """All columns, `mask` bool [B, L]."""
        index = torch.arange(mask.shape[1], device=mask.device).expand(*mask.shape)
        return cls(index, mask, mask.shape[1], _n_last(mask), is_whole=True)

    def cut(self, dropped: torch.Tensor) -> tuple[KeptTokens, torch.Tensor]:
        """What remains without `dropped` bool [B, P], filled up on the left, and its columns [B, Q] in this one."""
        local = kept_index(self.mask, dropped)
        mask = (self.mask & ~dropped).gather(1, local)
        index = self.index.gather(1, local)
        stays = torch.zeros(len(mask), self.length, dtype=torch.bool, device=mask.device)
        stays.scatter_(1, index, mask)
        return KeptTokens(index, mask, self.length, _n_last(stays)), local

    def columns_after(self, dropped: torch.Tensor) -> torch.Tensor:
        """Where each column stands after the cut of `dropped`, int64 [B, P]; anything for those that are gone."""
        kept = self.mask & ~dropped
        counts = kept.sum(1, keepdim=True)
        return kept.cumsum(1) - 1 + counts.max() - counts


def _n_last(stays: torch.Tensor) -> int:
    """How many of the last columns of [B, L] stay in every row, but for padding in front."""
    started = stays.cumsum(1) > 0
    gone = ~stays & (started | ~started.any(1, keepdim=True))
    numbers = torch.arange(1, stays.shape[1] + 1, device=stays.device)
    return stays.shape[1] - int((gone * numbers).max())


def gather_tokens(value: torch.Tensor, index: torch.Tensor, dim: int) -> torch.Tensor:
    """The tokens `index` [B, P] along `dim`, in front of which rows stand; rows that are all the same are expanded."""
    index = index.to(value.device)
    if value.ndim + dim == 0:
        return value[index]
    before, behind = value.shape[: dim - 1], value.shape[value.ndim + dim + 1 :]
    where = index.view(*index.shape, *[1] * len(behind)).expand(*before, *index.shape, *behind)
    return value.expand(*before, len(index), *value.shape[dim:]).gather(dim, where)
