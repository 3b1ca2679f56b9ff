"""Batches of rows of about one length, so that hardly any time goes into padding, in an order that a seed gives.

An epoch goes through the shards in a shuffled order and within a shard through pools of shuffled rows: a pool is
sorted by length and cut into batches of at most `batch_tokens` tokens, padding counted, and the batches are shuffled.
The order hangs on the seed and the epoch alone, so that a run that is resumed sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from contextpruner.training.packed.shards import PackedFolder, Shard

# batches that are cut out of one pool
POOL = 64


@dataclass(frozen=True)
class TrainingBatch:
    """ids, mask, types int64 [B, T]; `unit` int64 [B, T]: the place in `gold`, or -1; `row` int64 [units].

    gold float32 [units], rank float32 [B]; `rows` are the rows' places in their shard, `tokens` those without padding.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    types: torch.Tensor
    unit: torch.Tensor
    row: torch.Tensor
    gold: torch.Tensor
    rank: torch.Tensor
    rows: np.ndarray
    tokens: int

    def to(self, device: torch.device) -> TrainingBatch:
        """The same on `device`."""
        moved = {
            name: getattr(self, name).to(device) for name in ("ids", "mask", "types", "unit", "row", "gold", "rank")
        }
        return TrainingBatch(**moved, rows=self.rows, tokens=self.tokens)


def epoch_batches(packed: PackedFolder, batch_tokens: int, pad: int, seed: int, epoch: int) -> Iterator[TrainingBatch]:
    """All rows to learn from, once."""
    draw = np.random.default_rng([seed, epoch])
    files = packed.files["train"]
    for place in draw.permutation(len(files)).tolist():
        shard = packed.read(files[place])
        order = draw.permutation(len(shard.lengths))
        for group in _pools(shard.lengths, order, batch_tokens):
            cut = cut_batches(shard.lengths, group, batch_tokens)
            for number in draw.permutation(len(cut)).tolist():
                yield batch_of(shard, cut[number], pad)


def cut_batches(lengths: np.ndarray, rows: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """`rows` sorted by length, in batches of at most `batch_tokens` tokens with padding; a longer row stands alone."""
    ordered = rows[np.argsort(lengths[rows], kind="stable")]
    batches, first = [], 0
    for at in range(1, len(ordered) + 1):
        # the row at `at` would be the longest of the batch
        if at == len(ordered) or (at + 1 - first) * lengths[ordered[at]] > batch_tokens:
            batches.append(ordered[first:at])
            first = at
    return batches


def batch_of(shard: Shard, rows: Sequence[int] | np.ndarray, pad: int) -> TrainingBatch:
    """The rows of a shard as tensors, padded on the right to the longest of them."""
    lengths = shard.lengths[rows]
    width = int(lengths.max())
    ids = np.full((len(rows), width), pad, np.int64)
    unit = np.full((len(rows), width), -1, np.int64)
    types, mask = np.zeros_like(ids), np.zeros_like(ids)
    n_units, gold, row = 0, [], []
    for place, number in enumerate(rows):
        where, length = slice(shard.start[number], shard.start[number + 1]), int(lengths[place])
        ids[place, :length], mask[place, :length] = shard.ids[where], 1
        types[place, shard.second[number] : length] = 1
        own = shard.unit[where].astype(np.int64)
        unit[place, :length] = np.where(own >= 0, own + n_units, -1)
        gold.append(shard.gold[shard.unit_start[number] : shard.unit_start[number + 1]])
        row.append(np.full(len(gold[-1]), place))
        n_units += len(gold[-1])
    return TrainingBatch(
        ids=torch.from_numpy(ids),
        mask=torch.from_numpy(mask),
        types=torch.from_numpy(types),
        unit=torch.from_numpy(unit),
        row=torch.from_numpy(np.concatenate(row)),
        gold=torch.from_numpy(np.concatenate(gold).astype(np.float32)),
        rank=torch.from_numpy(shard.rank[rows].astype(np.float32)),
        rows=np.asarray(rows),
        tokens=int(lengths.sum()),
    )


def _pools(lengths: np.ndarray, order: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Runs of `order` of about `POOL` batches' tokens."""
    pool = np.cumsum(lengths[order]) // (POOL * batch_tokens)
    yield from np.split(order, np.flatnonzero(np.diff(pool)) + 1)
