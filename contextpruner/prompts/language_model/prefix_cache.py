"""Keys and values of what was read, and reading on from there: every row from one prefix, every label from its row.

Rows are padded on the right; where one goes on, its padding stays between, hidden by the mask, and positions count
what is no padding. A state is read on from as often as one likes and is never changed.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import NamedTuple

import torch

from contextpruner.models.batches import pad_id
from contextpruner.models.causal_lm import CausalLM
from prunekernels.extras import require


class Read(NamedTuple):
    """What B rows have read: `layers` has keys and values [B, heads, T, d] of each layer.

    `mask` int64 [B, T] is 1 for what is no padding; `sizes` int64 [B] says how many tokens that are.
    """

    layers: list[tuple[torch.Tensor, torch.Tensor]]
    mask: torch.Tensor
    sizes: torch.Tensor


def nothing(lm: CausalLM) -> Read:
    """One row that has read nothing."""
    device = lm.head.weight.device
    zeros = torch.zeros(1, 0, dtype=torch.long, device=device)
    return Read([], zeros, zeros.sum(1))


def read_on(
    lm: CausalLM, read: Read, places: Sequence[int], tails: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, Read]:
    """Row `places[i]` of `read` goes on with the tokens `tails[i]`; called within inference mode.

    Returns last hidden states [rows, T, D], where row i has as many as `tails[i]`, and what was read then.
    """
    device = lm.head.weight.device
    chosen = torch.tensor([*places], device=device)
    sizes = torch.tensor([len(tail) for tail in tails])
    width = int(sizes.max())
    ids = torch.full((len(tails), width), pad_id(lm.tokenizer))
    for row, tail in zip(ids, tails, strict=True):
        row[: len(tail)] = torch.tensor([*tail])
    own = (torch.arange(width) < sizes[:, None]).long().to(device)
    cache = require("transformers", "context").DynamicCache()
    for layer, (keys, values) in enumerate(read.layers):
        cache.update(keys[chosen], values[chosen], layer)
    mask = torch.cat([read.mask[chosen], own], 1)
    takes = inspect.signature(lm.model.base_model.forward).parameters
    # newer releases of transformers call it the cache
    given = {"input_ids": ids.to(device), "attention_mask": mask, "use_cache": True}
    given["cache" if "cache" in takes else "past_key_values"] = cache
    if "position_ids" in takes:
        given["position_ids"] = read.sizes[chosen][:, None] + torch.arange(width, device=device)
    hidden = lm.model.base_model(**given).last_hidden_state
    layers = [(layer.keys, layer.values) for layer in cache.layers]
    return hidden, Read(layers, mask, read.sizes[chosen] + sizes.to(device))
