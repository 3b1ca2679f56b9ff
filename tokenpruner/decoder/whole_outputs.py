"""Outputs as long as what came, for heads that know nothing of a cut: classifiers, losses of others, metrics.

    whole_j = output of the last token up to j that was left, 0 before the first one

So a classifier that looks for the last token of a row finds it, and what stands at j predicts the label of j + 1, from
the tokens that the model has seen. A retrieval model gives its embeddings back for the tokens that were left.
"""

from __future__ import annotations

from dataclasses import dataclass, is_dataclass, replace

import torch
from torch import nn

HIDDEN, STATES = "last_hidden_state", "hidden_states"
# the output of a retrieval model, [B, L, D]; colpali-engine's models give a tensor alone, and make it by this layer,
# some of them in a merger of their own
EMBEDDINGS, PROJECTION = "embeddings", "custom_text_proj"


@dataclass(frozen=True)
class Cut:
    """Which columns `index` int64 [B, P] of the `length` that came are left; `mask` bool [B, P] tells padding."""

    index: torch.Tensor
    mask: torch.Tensor
    length: int

    def whole(self, values: torch.Tensor) -> torch.Tensor:
        """`values` [B, P, D] of what is left as [B, L, D]."""
        index, mask = self.index.to(values.device), self.mask.to(values.device)
        stays = torch.zeros(len(index), self.length, dtype=torch.bool, device=values.device).scatter_(1, index, mask)
        # rows are filled up on the left
        number = stays.cumsum(1) - 1
        place = (number + index.shape[1] - mask.sum(1, keepdim=True)).clamp(min=0)
        found = values.gather(1, place[..., None].expand(-1, -1, values.shape[-1]))
        return found.masked_fill(number[..., None] < 0, 0)

    def left(self, values: torch.Tensor) -> torch.Tensor:
        """Of `values` [B, L, D] those of what is left, [B, P, D], 0 in padding."""
        index, mask = self.index.to(values.device), self.mask.to(values.device)
        found = values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
        return found.masked_fill(~mask[..., None], 0)


def has_other_head(model: nn.Module, merger: nn.Module) -> bool:
    """True where `model` does something else with the hidden states of its `merger` than to predict tokens."""
    if hasattr(model, PROJECTION):
        return True
    embeddings = getattr(model, "get_output_embeddings", None)
    return model is not merger and embeddings is not None and embeddings() is None


def with_whole(output: object, name: str, cut: Cut) -> object:
    """`output` of a model whose attribute `name` [B, P, D] has an entry for each token that came; None without one."""
    values = getattr(output, name, None)
    if not isinstance(values, torch.Tensor) or values.ndim != 3 or values.shape[:2] != cut.index.shape:
        return None
    return _replaced(output, name, cut.whole(values))


def with_whole_hidden(output: object, cut: Cut) -> object:
    """A backbone's `output` whose hidden states, those of all layers with them, are made so; None without any."""
    whole, states = with_whole(output, HIDDEN, cut), getattr(output, STATES, None)
    if whole is None or not isinstance(states, tuple):
        return whole
    # those behind the last cut
    made = (cut.whole(own) if own.shape[:2] == cut.index.shape else own for own in states)
    return _replaced(whole, STATES, tuple(made))


def with_embeddings_left(output: object, cut: Cut) -> object:
    """A retrieval model's `output` with the embeddings of the tokens that are left; None where it has none."""
    values = output if isinstance(output, torch.Tensor) else getattr(output, EMBEDDINGS, None)
    if not isinstance(values, torch.Tensor) or values.ndim != 3 or values.shape[:2] != (len(cut.index), cut.length):
        return None
    return cut.left(values) if values is output else _replaced(output, EMBEDDINGS, cut.left(values))


def _replaced(output: object, name: str, values: object) -> object:
    if not is_dataclass(output) or isinstance(output, type):
        return None
    return replace(output, **{name: values})
