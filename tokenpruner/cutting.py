"""Which tokens a decoder layer works on, and its arguments cut to them.

A text backbone computes masks, positions and their embeddings once and hands the same to all of its layers, in
the layout of the tokens that entered. A layer behind a cut gets them for the tokens that are left.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from tokenpruner import thin
from tokenpruner.along import FOR_THE_LOSS, PER_TOKEN, per_token
from tokenpruner.transformers_api import CACHE_ARGUMENTS, not_supported

Kwargs = dict[str, object]
# one position a token; one embedding of it a token, alone or as cosines and sines
POSITIONS, EMBEDDINGS = "position_ids", "position_embeddings"
ALONG = (*PER_TOKEN, "per_layer_input")
OWN = ("attention_mask", POSITIONS, EMBEDDINGS, *CACHE_ARGUMENTS, *FOR_THE_LOSS)


@dataclass(frozen=True)
class Remaining:
    """Columns `index` int64 [B, P] of the L that entered, real where `mask` bool [B, P] is True.

    The last `tail` columns that entered are there in every row, in a row and without padding behind them. `is_whole`
    is True where nothing has been cut; behind a cut P may still be L, where a row without images is the longest.
    """

    index: torch.Tensor
    mask: torch.Tensor
    length: int
    tail: int
    is_whole: bool = False

    @classmethod
    def whole(cls, mask: torch.Tensor) -> Remaining:
        """All columns, `mask` bool [B, L]."""
        index = torch.arange(mask.shape[1], device=mask.device).expand(*mask.shape)
        return cls(index, mask, mask.shape[1], _tail(mask), is_whole=True)

    def cut(self, dropped: torch.Tensor) -> tuple[Remaining, torch.Tensor]:
        """What remains without `dropped` bool [B, P], filled up on the left, and its columns [B, Q] in this one."""
        local = thin.kept_index(self.mask, dropped)
        mask = (self.mask & ~dropped).gather(1, local)
        index = self.index.gather(1, local)
        stays = torch.zeros(len(mask), self.length, dtype=torch.bool, device=mask.device)
        stays.scatter_(1, index, mask)
        return Remaining(index, mask, self.length, _tail(stays)), local

    def columns(self, dropped: torch.Tensor) -> torch.Tensor:
        """Where each column stands after the cut of `dropped`, int64 [B, P]; anything for those that are gone."""
        kept = self.mask & ~dropped
        counts = kept.sum(1, keepdim=True)
        return kept.cumsum(1) - 1 + counts.max() - counts


def _tail(stays: torch.Tensor) -> int:
    """How many of the last columns of [B, L] stay in every row, but for padding in front."""
    started = stays.cumsum(1) > 0
    gone = ~stays & (started | ~started.any(1, keepdim=True))
    numbers = torch.arange(1, stays.shape[1] + 1, device=stays.device)
    return stays.shape[1] - int((gone * numbers).max())


def bound(layer: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> tuple[torch.Tensor, Kwargs]:
    """Hidden states and all other arguments, by name, of a call of a decoder layer."""
    names = [name for name in inspect.signature(type(layer).forward).parameters][1:]
    given = dict(zip(names, args, strict=False)) | kwargs
    hidden = given.pop(names[0])
    if not isinstance(hidden, torch.Tensor) or hidden.ndim != 3:
        got = [*hidden.shape] if isinstance(hidden, torch.Tensor) else type(hidden).__name__
        raise ValueError(f"want hidden states [B, L, D] to enter {type(layer).__name__}, got {got}")
    return hidden, given


def taken(value: torch.Tensor, index: torch.Tensor, dim: int) -> torch.Tensor:
    """The tokens `index` [B, P] along `dim`, in front of which rows stand; rows that are all the same are expanded."""
    index = index.to(value.device)
    if value.ndim + dim == 0:
        return value[index]
    before, behind = value.shape[: dim - 1], value.shape[value.ndim + dim + 1 :]
    where = index.view(*index.shape, *[1] * len(behind)).expand(*before, *index.shape, *behind)
    return value.expand(*before, len(index), *value.shape[dim:]).gather(dim, where)


def cut_arguments(given: Kwargs, layout: Remaining) -> Kwargs:
    """What of a layer's arguments has one entry a token, for the tokens of `layout`; masks and caches apart."""
    changed: Kwargs = {}
    rows, length = len(layout.index), layout.length
    for name, value in given.items():
        if name == POSITIONS and isinstance(value, torch.Tensor):
            changed[name] = taken(value, layout.index, -1)
        elif name == EMBEDDINGS and value is not None:
            changed[name] = each(value, lambda table: taken(table, layout.index, -2))
        elif name in ALONG and isinstance(value, torch.Tensor) and value.shape[:2] in ((rows, length), (1, length)):
            changed[name] = taken(value, layout.index, 1 - value.ndim)
        elif name not in (*OWN, *ALONG) and (found := per_token(value, (rows, length))) is not None:
            raise ValueError(f"a decoder layer also takes {name} {[*found.shape]} per token: {not_supported()}")
    return changed


def each(value: object, change: Callable[[torch.Tensor], torch.Tensor]) -> object:
    """`value` with every tensor in it changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, tuple | list):
        return tuple(each(part, change) for part in value)
    if isinstance(value, dict):
        return {name: each(part, change) for name, part in value.items()}
    return value
