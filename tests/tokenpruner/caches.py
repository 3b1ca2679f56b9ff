"""A model's cache by the name that the installed transformers has for it, and what goes on from it."""

from __future__ import annotations

import torch
from torch import nn

from tokenpruner.models.transformers_api import Cache, cache_argument, cache_of_output


def with_cache(module: nn.Module, cache: object) -> dict[str, object]:
    """The argument that hands `cache` to a model or a layer."""
    return {cache_argument(module): cache}


def cache_from(output: object) -> Cache:
    """The cache that a model's `output` hands back."""
    cache = cache_of_output(output)
    assert cache is not None
    return cache


def likely(out):
    """The next token, any but the one that stands for images."""
    return int(out.logits[0, -1].index_fill(0, torch.tensor(5), -torch.inf).argmax())


def followed(model, inputs, out, more):
    """The inputs of a second turn: prompt, answer and the tokens `more` [B, T], by full length."""
    ids = torch.cat([out.sequences, more], 1)
    added = ids.shape[1] - inputs["attention_mask"].shape[1]
    mask = torch.nn.functional.pad(inputs["attention_mask"], (0, added), value=1)
    return {"input_ids": ids, "attention_mask": mask, **with_cache(model, cache_from(out))}
