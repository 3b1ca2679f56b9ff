"""Queries, keys and values of a decoder layer, or some of them, read without running its attention.

The layer's own code runs on a shallow copy that shares every weight, whose attention module looks up
another attention function, one that stops there and hands over what it was given. So queries and keys come as
the model's attention would see them, normalised, with their positions encoded and with keys of earlier turns,
whichever attention the model uses; neither the layer nor its config is touched.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from tokenpruner.models.attention import Attention, causal
from tokenpruner.models.transformers_api import (
    AttentionInterface,
    Cache,
    Kwargs,
    attention_override,
    cache_argument,
    cache_of,
    looks_up_attention,
)

NAME = "prunekit_probe"
# the projections that may be made for some tokens only
QUERIES, VALUES = "q_proj", "v_proj"
# how the names of a cache's methods begin that change nothing
QUESTIONS = ("get_", "is_", "has_")


@dataclass(frozen=True)
class AttentionInputs:
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


class AttentionReached(Exception):  # noqa: N818 - it ends a pass that went well
    """The copied layer has come to its attention."""

    def __init__(self, inputs: AttentionInputs) -> None:
        super().__init__()
        self.inputs = inputs


class StandInCache:
    """Stands for a cache, or for none, while one layer runs; whatever else is asked of it is asked of the cache.

    Raises ValueError for what would change the cache, and for what only a cache could answer where there is none.
    """

    def __init__(self, cache: Cache | None) -> None:
        self.cache = cache

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or name == "cache":
            raise AttributeError(name)
        if self.cache is None or not name.startswith(QUESTIONS):
            raise ValueError(
                f"a decoder layer asks its cache for {name}, which cannot be had while tokens are chosen in its place: "
                "take a method before the decoder, such as DivPrune"
            )
        return getattr(self.cache, name)


class ReadOnlyCache(StandInCache):
    """The keys and values of a layer behind those of earlier turns, nothing written."""

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the attention function would get."""
        layers = () if self.cache is None else self.cache.layers
        layer = layers[layer_idx] if layer_idx < len(layers) else None
        past = getattr(layer, "keys", None)
        if layer is None or past is None or not past.numel():
            return keys, values
        return torch.cat([past, keys], -2), torch.cat([layer.values, values], -2)


def attention_of(layer: nn.Module) -> tuple[str, nn.Module] | None:
    """The one module of a decoder layer that looks up an attention function, by name; None if there is none."""
    found = [(name, module) for name, module in layer.named_children() if looks_up_attention(module)]
    return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class Parts:
    """What is wanted of an attention: the queries of `columns` int64 [R], None for all, and its `values` or zeros."""

    columns: torch.Tensor | None = None
    values: bool = True


def read(
    layer: nn.Module,
    hidden: torch.Tensor,
    kwargs: Kwargs,
    stand_in: StandInCache | None = None,
    parts: Parts = Parts(),  # noqa: B008 - it is frozen
) -> AttentionInputs:
    """What the attention of `layer` gets when the layer is called with `hidden` [B, L, D] and `kwargs`.

    `stand_in` is handed to it in place of its cache, by default one that reads it. What `parts` does not ask for is not
    computed where the attention has a projection of its own for it, and is 0.
    """
    found = attention_of(layer)
    if found is None:
        raise ValueError(unreadable(layer))
    if stand_in is None:
        cache = cache_of(kwargs)
        stand_in = None if cache is None else ReadOnlyCache(cache)
    given = kwargs | {cache_argument(layer, kwargs): stand_in}
    AttentionInterface.register(NAME, _stop)
    try:
        type(layer).forward(_probed_layer(layer, *found, parts), hidden, **given)
    except AttentionReached as seen:
        return seen.inputs
    raise ValueError(unreadable(layer))


def unreadable(layer: nn.Module) -> str:
    """Why the attention of `layer` cannot be read."""
    return (
        f"the attention of {type(layer).__name__} cannot be read: want one module in it that takes its attention "
        "function from transformers' AttentionInterface; methods before the decoder, such as DivPrune, need none"
    )


class ProjectionOfSome(nn.Module):
    """A linear layer for some columns of a sequence, 0 elsewhere."""

    def __init__(self, linear: nn.Module, columns: torch.Tensor) -> None:
        super().__init__()
        # not as a child: the layer belongs to its model
        self.project, self.columns = linear.__call__, columns

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[..., L, D] to [..., L, W]."""
        columns = self.columns.to(hidden.device)
        some = self.project(hidden.index_select(-2, columns))
        return some.new_zeros(*hidden.shape[:-1], some.shape[-1]).index_copy(-2, columns, some)


def _needed_projections(attention: nn.Module, parts: Parts) -> dict[str, nn.Module]:
    """Projections in place of those of which less is wanted."""
    found: dict[str, nn.Module] = {}
    columns = {QUERIES: parts.columns, VALUES: None if parts.values else torch.zeros(1, dtype=torch.int64)}
    for name, own in columns.items():
        linear = getattr(attention, name, None)
        if own is not None and isinstance(linear, nn.Module) and hasattr(linear, "in_features"):
            found[name] = ProjectionOfSome(linear, own)
    return found


def _probed_layer(layer: nn.Module, name: str, attention: nn.Module, parts: Parts) -> nn.Module:
    copied, probe = _shallow_copy(layer), _shallow_copy(attention)
    config = copy.copy(attention.config)
    vars(config).update(attention_override(NAME))
    vars(probe)["config"] = config
    vars(probe)["_modules"] = dict(attention._modules) | _needed_projections(attention, parts)
    # nothing is computed again for gradients, and hooks on the attention are not for us
    vars(probe).update(_forward_hooks={}, _forward_pre_hooks={})
    vars(copied).update(_modules=dict(layer._modules) | {name: probe}, gradient_checkpointing=False)
    return copied


def _shallow_copy(module: nn.Module) -> nn.Module:
    """A shallow copy; the class of a sharded module cannot be called for one."""
    copied = object.__new__(type(module))
    vars(copied).update(vars(module))
    return copied


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
    raise AttentionReached(AttentionInputs(query, key, value, scaling, attention_mask, window, softcap))  # type: ignore[arg-type]


def attention_of_row(inputs: AttentionInputs, row: int, real: torch.Tensor, past_real: torch.Tensor) -> Attention:
    """The attention among the `real` bool [P] tokens of a row, behind the real slots `past_real` bool [S]."""
    n_new = len(real)
    # a sliding layer holds the last of its slots
    n_past = inputs.k.shape[2] - n_new
    own = real.nonzero().flatten()
    past = past_real[len(past_real) - n_past :].nonzero().flatten()
    keys = torch.cat([past, n_past + own])
    allowed = _allowed(inputs, row, n_past, n_new)
    if allowed is not None:
        allowed = allowed[own][:, keys]
        plain = causal(len(own), own.device)
        if bool(allowed[:, : len(past)].all()) and torch.equal(allowed[:, len(past) :], plain):
            allowed = None
    return Attention(inputs.q[row, :, own], inputs.k[row, :, keys], inputs.scaling, allowed, inputs.softcap)


def _allowed(inputs: AttentionInputs, row: int, n_past: int, n_new: int) -> torch.Tensor | None:
    """Who sees whom, bool [P, S + P]; None where that is causality alone."""
    mask = inputs.mask
    if isinstance(mask, torch.Tensor) and mask.ndim == 4:
        own = mask[min(row, len(mask) - 1), 0]
        return own if own.dtype == torch.bool else own == 0
    if inputs.window is None:
        return None
    device = inputs.q.device
    distance = torch.arange(n_past, n_past + n_new, device=device)[:, None] - torch.arange(
        n_past + n_new, device=device
    )
    return (distance >= 0) & (distance < inputs.window)
