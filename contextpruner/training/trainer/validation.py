"""A model on packed validation rows: its temperature, and the curve that a run is stopped by.

    temperature    the T of least mean over units of BCE(mean over tokens of sigmoid(margin / T), gold)
    curve          of units whose number is that mean, as it is when the model labels

A unit in two windows of a long document counts in both, which a full evaluation merges. Temperature scaling is Guo et
al. 2017 (arXiv:1706.04599), here of tokens, for the mean that a threshold is put on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from contextpruner.models.joint_encoder import JointEncoder
from contextpruner.training.evaluation.curves import JudgedUnits, RecallCurve, recall_curve
from contextpruner.training.packed.batches import batch_of, cut_batches
from contextpruner.training.packed.shards import PackedFolder, Shard
from contextpruner.training.trainer.losses import mean_cross_entropy, unit_means

# the temperatures that are looked through
TEMPERATURES = torch.logspace(-1, 1, 101, base=4)


@dataclass(frozen=True, eq=False)
class Units:
    """The units of a row: `margins` [tokens] of its text, the unit of each of them, and their `sizes` and `gold`."""

    margins: torch.Tensor
    unit: torch.Tensor
    sizes: np.ndarray
    gold: np.ndarray

    def means(self, temperature: float) -> torch.Tensor:
        """float32 [units]."""
        return unit_means((self.margins / temperature).sigmoid(), self.unit, len(self.gold))


@torch.inference_mode()
def validate(
    model: JointEncoder, packed: PackedFolder, batch_tokens: int, most_tokens: int, autocast: torch.autocast
) -> tuple[RecallCurve, float]:
    """The curve over the first questions of the validation rows, up to `most_tokens` tokens, and the temperature."""
    found: dict[int, list[Units]] = defaultdict(list)
    device = next(model.parameters()).device
    for shard, rows in _first_rows(packed, most_tokens):
        for chosen in cut_batches(shard.lengths, rows, batch_tokens):
            batch = batch_of(shard, chosen, model_pad(model)).to(device)
            with autocast:
                said, _ = model.logits(batch.ids, batch.mask, batch.types if model_has_types(model) else None)
            margins, unit = (said[..., 1] - said[..., 0]).cpu(), batch.unit.cpu()
            done = 0
            for place, row in enumerate(chosen.tolist()):
                where = slice(shard.unit_start[row], shard.unit_start[row + 1])
                is_text = unit[place] >= 0
                own = margins[place][is_text], unit[place][is_text] - done
                found[int(shard.example[row])].append(Units(*own, shard.size[where], shard.gold[where] > 0))
                done += where.stop - where.start
    temperature = fitted_temperature([row for rows in found.values() for row in rows])
    # a few long meetings would be most of the characters: each question counts as a source of its own
    return recall_curve([_judged(rows, temperature, str(place)) for place, rows in found.items()]), temperature


def fitted_temperature(rows: Sequence[Units]) -> float:
    """The one of `TEMPERATURES` that fits best; 1 where there is no unit."""
    ends = np.cumsum([0, *(len(row.gold) for row in rows)])
    if not ends[-1]:
        return 1.0
    margins = torch.cat([row.margins for row in rows])
    unit = torch.cat([row.unit + int(end) for row, end in zip(rows, ends, strict=False)])
    gold = torch.from_numpy(np.concatenate([row.gold for row in rows])).float()
    errors = [mean_cross_entropy(unit_means((margins / one).sigmoid(), unit, len(gold)), gold) for one in TEMPERATURES]
    return round(TEMPERATURES[int(torch.stack(errors).argmin())].item(), 3)


def _judged(rows: Sequence[Units], temperature: float, source: str) -> JudgedUnits:
    """All rows of a question."""
    means = [row.means(temperature).numpy() for row in rows]
    sizes, gold = ([getattr(row, name) for row in rows] for name in ("sizes", "gold"))
    return JudgedUnits(np.concatenate(means), np.concatenate(sizes), np.concatenate(gold), source)


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
