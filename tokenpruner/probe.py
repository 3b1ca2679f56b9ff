"""Queries, keys and values of a decoder layer, read without running its attention.

The layer's own code runs on a twin: a shallow copy that shares every weight, whose attention module looks up
another attention function, one that stops there and hands over what it was given. So queries and keys come as
the model's attention would see them, normalised, with their positions encoded and with keys of earlier turns,
whichever attention the model uses; neither the layer nor its config is touched.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from tokenpruner.transformers_api import (
    AttentionInterface,
    Cache,
    attention_override,
    cache_argument,
    cache_of,
    looks_up_attention,
)

Kwargs = dict[str, object]
NAME = "prunekit_probe"


@dataclass(frozen=True)
class Reading:
    """Queries `q` [B, H, L, D], keys `k` and values `v` [B, G, S, D], `scaling` and what else shapes the scores.

    `mask` is the layer's own, in whatever form it was given; `window` and `softcap` are None where there are none.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    scaling: float
    mask: object = None
    window: int | None = None
    softcap: float | None = None


class Read(Exception):  # noqa: N818 - it ends a pass that went well
    """The twin has come to its attention."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.reading = reading


class Peek:
    """Stands for a cache: the keys and values of layer `number` behind those of earlier turns, nothing written."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the attention function would get."""
        layer = self.cache.layers[layer_idx] if layer_idx < len(self.cache.layers) else None
        past = getattr(layer, "keys", None)
        if layer is None or past is None or not past.numel():
            return keys, values
        return torch.cat([past, keys], -2), torch.cat([layer.values, values], -2)


def attention_of(layer: nn.Module) -> tuple[str, nn.Module] | None:
    """The one module of a decoder layer that looks up an attention function, by name; None if there is none."""
    found = [(name, module) for name, module in layer.named_children() if looks_up_attention(module)]
    return found[0] if len(found) == 1 else None


def read(layer: nn.Module, hidden: torch.Tensor, kwargs: Kwargs) -> Reading:
    """What the attention of `layer` gets when the layer is called with `hidden` [B, L, D] and `kwargs`."""
    found = attention_of(layer)
    if found is None:
        raise ValueError(unreadable(layer))
    cache = cache_of(kwargs)
    given = kwargs | {cache_argument(layer, kwargs): None if cache is None else Peek(cache)}
    AttentionInterface.register(NAME, _stop)
    try:
        type(layer).forward(_twin(layer, *found), hidden, **given)
    except Read as seen:
        return seen.reading
    raise ValueError(unreadable(layer))


def unreadable(layer: nn.Module) -> str:
    """Why the attention of `layer` cannot be read."""
    return (
        f"the attention of {type(layer).__name__} cannot be read: want one module in it that takes its attention "
        "function from transformers' AttentionInterface; methods before the decoder, such as DivPrune, need none"
    )


def _twin(layer: nn.Module, name: str, attention: nn.Module) -> nn.Module:
    twin, probe = _copied(layer), _copied(attention)
    config = copy.copy(attention.config)
    vars(config).update(attention_override(NAME))
    vars(probe)["config"] = config
    # nothing is computed again for gradients, and hooks on the attention are not for us
    vars(probe).update(_forward_hooks={}, _forward_pre_hooks={})
    vars(twin).update(_modules=dict(layer._modules) | {name: probe}, gradient_checkpointing=False)
    return twin


def _copied(module: nn.Module) -> nn.Module:
    """A shallow copy; the class of a sharded module cannot be called for one."""
    twin = object.__new__(type(module))
    vars(twin).update(vars(module))
    return twin


def _stop(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: object,
    scaling: float | None = None,
    **kwargs: object,
) -> None:
    if kwargs.get("s_aux") is not None:
        raise ValueError(f"{type(module).__name__} has attention sinks: not supported")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    window, softcap = kwargs.get("sliding_window"), kwargs.get("softcap")
    raise Read(Reading(query, key, value, scaling, attention_mask, window, softcap))  # type: ignore[arg-type]
