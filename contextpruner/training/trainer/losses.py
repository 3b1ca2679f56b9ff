"""What a pruner is taught: which tokens and units answer, which unit comes first, and whether a text answers at all.

With m[t] the difference of the two logits of token t, p = sigmoid(m), and mean(u) over the tokens of unit u:

    token       mean over tokens of BCE(m[t], gold(unit of t))       the cross-entropy of two classes (Provence)
    unit        mean over units of BCE(mean(u) of p, gold(u))        the number that a threshold is put on
    listwise    mean over rows with gold of  - mean over gold u of log softmax over the row's units of mean(u) of m
    ranking     mean over rows of BCE(rank, row answers), or (rank - teacher)^2 where scores are given (Provence)
    distillation   mean over tokens of BCE(m[t], p of the teacher), and of rows of (rank - rank of the teacher)^2

Tokens of question, title and special ones have no label; with `labelled` "padded" they, and padding, are labelled 0.
"""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from contextpruner.training.packed.batches import TrainingBatch
from contextpruner.training.recipe import TrainingSettings

EDGE = 1e-6
Said = tuple[torch.Tensor, torch.Tensor]


def losses(
    said: Said, batch: TrainingBatch, settings: TrainingSettings, teacher: Said | None = None
) -> dict[str, torch.Tensor]:
    """Each loss of weight over 0 by its name, unweighted; `said` are logits [B, T, 2] and rank [B]."""
    tokens, rank = said
    margin = tokens[..., 1] - tokens[..., 0]
    is_text = batch.unit >= 0
    unit, text = batch.unit[is_text], margin[is_text]
    found = {}
    if settings.token_loss:
        found["token"] = binary_cross_entropy_with_logits(text, batch.gold[unit])
        if settings.labelled == "padded":
            labels = torch.zeros_like(margin)
            labels[is_text] = batch.gold[unit]
            found["token"] = binary_cross_entropy_with_logits(margin, labels)
    if settings.unit_loss:
        found["unit"] = mean_cross_entropy(unit_means(text.sigmoid(), unit, len(batch.gold)), batch.gold)
    if settings.listwise_loss:
        found["listwise"] = _listwise(unit_means(text, unit, len(batch.gold)), batch)
    if settings.ranking_loss:
        is_label = settings.ranking == "labels"
        found["ranking"] = (binary_cross_entropy_with_logits if is_label else mse_loss)(rank, batch.rank)
    if settings.distillation_loss and teacher is not None:
        taught = (teacher[0][..., 1] - teacher[0][..., 0])[is_text].sigmoid()
        found["distillation"] = binary_cross_entropy_with_logits(text, taught) + mse_loss(rank, teacher[1])
    return found


def total(found: dict[str, torch.Tensor], settings: TrainingSettings) -> torch.Tensor:
    """The weighted sum."""
    return torch.stack([getattr(settings, f"{name}_loss") * value for name, value in found.items()]).sum()


def unit_means(values: torch.Tensor, unit: torch.Tensor, n_units: int) -> torch.Tensor:
    """The mean over the tokens of each unit, float32 [units]; a unit without tokens gets 0."""
    sums = values.new_zeros(n_units).index_add(0, unit, values)
    counts = values.new_zeros(n_units).index_add(0, unit, torch.ones_like(values))
    return sums / counts.clamp(min=1)


def mean_cross_entropy(probabilities: torch.Tensor, gold: torch.Tensor) -> torch.Tensor:
    """The mean of BCE(p, gold), of probabilities that may be 0 or 1."""
    inside = probabilities.clamp(EDGE, 1 - EDGE)
    return -(gold * inside.log() + (1 - gold) * (1 - inside).log()).mean()


def _listwise(means: torch.Tensor, batch: TrainingBatch) -> torch.Tensor:
    n_rows = len(batch.rank)
    largest = means.new_full((n_rows,), -torch.inf).scatter_reduce(0, batch.row, means.detach(), "amax")
    shifted = means - largest[batch.row]
    summed = means.new_zeros(n_rows).index_add(0, batch.row, shifted.exp())
    n_gold = means.new_zeros(n_rows).index_add(0, batch.row, batch.gold)
    # a row without units has nothing to order
    logs = shifted - summed.clamp(min=EDGE).log()[batch.row]
    weight = batch.gold / n_gold.clamp(min=1)[batch.row]
    return -(weight * logs).sum() / (n_gold > 0).sum().clamp(min=1)
