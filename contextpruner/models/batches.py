"""Batches of token rows, by length: a row is padded to the longest of its batch and never to the model's maximum.

Equal rows are computed once, so that equal texts get equal numbers to the last bit; otherwise a number hangs on
its company through float rounding alone, where the model heeds its attention mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


# told how many tokens are done, and of how many
Listener = Callable[[int, int], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` of every batch that is done within the block."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


class Row(NamedTuple):
    """The tokens of one input; those from `second` on are of token type 1 where a model knows types."""

    ids: tuple[int, ...]
    second: int


class Batch(NamedTuple):
    """`rows` are places in what was given; ids, mask and types are int64 [B, T]."""

    rows: list[int]
    ids: torch.Tensor
    mask: torch.Tensor
    types: torch.Tensor


def distinct(rows: Sequence[Row]) -> tuple[list[Row], list[int]]:
    """The different rows in order of appearance, and for each given row its place among them."""
    places = {row: place for place, row in enumerate(dict.fromkeys(rows))}
    return list(places), [places[row] for row in rows]


def batches(rows: Sequence[Row], batch_size: int, pad: int) -> Iterator[Batch]:
    """Batches of up to `batch_size` rows, the longest rows first, padded on the right with the id `pad`."""
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index].ids))
    listener, done, total = _listener.get(), 0, sum(len(row.ids) for row in rows)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        width = len(rows[chosen[0]].ids)
        ids = torch.full((len(chosen), width), pad)
        mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
        for place, index in enumerate(chosen):
            row = rows[index]
            ids[place, : len(row.ids)] = torch.tensor(row.ids)
            mask[place, : len(row.ids)] = 1
            types[place, row.second : len(row.ids)] = 1
        yield Batch(chosen, ids, mask, types)
        done += sum(len(rows[index].ids) for index in chosen)
        if listener is not None:
            listener(done, total)


@torch.inference_mode()
def run_batches(
    rows: Sequence[Row], batch_size: int, pad: int, forward: Callable[[Batch], torch.Tensor]
) -> list[np.ndarray]:
    """What `forward` says of each row: float32 [...] out of its [B, ...], computed once for equal rows."""
    different, places = distinct(rows)
    found: list[np.ndarray] = [np.zeros(0, np.float32)] * len(different)
    for batch in batches(different, batch_size, pad):
        for row, values in zip(batch.rows, forward(batch).float().cpu().numpy(), strict=True):
            found[row] = values
    return [found[place] for place in places]


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that rows are padded with; any will do where a tokenizer has none, for the mask hides it."""
    return 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def check_batch_size(name: str, batch_size: int) -> None:
    """Refuse a batch size below 1."""
    if batch_size < 1:
        raise ValueError(f"{name} wants a batch_size of at least 1, got {batch_size}")
