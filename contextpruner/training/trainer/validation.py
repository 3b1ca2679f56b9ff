"""The curve of a model on packed validation rows: what a run is stopped by, and its threshold chosen by.

A unit's number is the mean probability of its tokens, as it is when the model labels; a unit in two windows of a long
document counts in both, which a full evaluation merges.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch

from contextpruner.models.joint_encoder import JointEncoder
from contextpruner.training.evaluation.curves import JudgedUnits, RecallCurve, recall_curve
from contextpruner.training.packed.batches import batch_of, cut_batches
from contextpruner.training.packed.shards import PackedFolder, Shard
from contextpruner.training.trainer.losses import unit_means


@torch.inference_mode()
def validate(
    model: JointEncoder, packed: PackedFolder, batch_tokens: int, most_tokens: int, autocast: torch.autocast
) -> RecallCurve:
    """The curve over the first questions of the validation rows, up to `most_tokens` tokens of them."""
    found: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = defaultdict(list)
    device = next(model.parameters()).device
    for shard, rows in _first_rows(packed, most_tokens):
        for chosen in cut_batches(shard.lengths, rows, batch_tokens):
            batch = batch_of(shard, chosen, model_pad(model)).to(device)
            with autocast:
                said, _ = model.logits(batch.ids, batch.mask, batch.types if model_has_types(model) else None)
            is_text = batch.unit >= 0
            keep = (said[..., 1] - said[..., 0])[is_text].sigmoid()
            means = unit_means(keep, batch.unit[is_text], len(batch.gold)).cpu().numpy()
            ends = np.cumsum(np.bincount(batch.row.cpu().numpy(), minlength=len(chosen)))[:-1]
            for row, values in zip(chosen.tolist(), np.split(means, ends), strict=True):
                where = slice(shard.unit_start[row], shard.unit_start[row + 1])
                found[int(shard.example[row])].append((values, shard.size[where], shard.gold[where] > 0))
    return recall_curve([JudgedUnits(*map(np.concatenate, zip(*parts, strict=True))) for parts in found.values()])


def model_has_types(model: JointEncoder) -> bool:
    """Whether the encoder tells the two texts apart by token types."""
    return getattr(model.ranker.config, "type_vocab_size", 0) > 1


def model_pad(model: JointEncoder) -> int:
    """The id that rows are padded with: some encoders count positions by it."""
    pad = getattr(model.ranker.config, "pad_token_id", None)
    return 0 if pad is None else pad


def _first_rows(packed: PackedFolder, most_tokens: int) -> Iterator[tuple[Shard, np.ndarray]]:
    for file in packed.files["validation"]:
        shard = packed.read(file)
        n_rows = int(np.searchsorted(np.cumsum(shard.lengths), most_tokens, side="right"))
        # at least one, and a question whole
        n_rows = max(n_rows, 1)
        while n_rows < len(shard.example) and shard.example[n_rows] == shard.example[n_rows - 1]:
            n_rows += 1
        yield shard, np.arange(n_rows)
        most_tokens -= int(shard.lengths[:n_rows].sum())
        if most_tokens <= 0:
            return
