"""What a cache holds before a pass, whether it may be pruned, and what its layers are told behind one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tokenpruner.decoder.cache_layers import DIFFERS_BY_LAYER, KINDS, LogicalLength, PrunedPrefix, RowSchedules
from tokenpruner.models.transformers_api import Cache, CacheLayerMixin, DynamicSlidingWindowLayer

PRUNED_BEFORE = "this cache was pruned before the decoder: go on inside `with prune(...)` with a method of that kind"
SKIPS_LAYERS = "rows of this cache skip layers: go on inside `with prune(...)` with the schedules that they were given"
# what a layer of a cache has for each of its slots; the rest are states
BY_SLOT = ("keys", "values", "indexer_keys", "indexer_position_ids")
WAY_OUT = "use model.generate(**prepare(model, method, **inputs)), or a dynamic cache where prepare() refuses the model"
WAY_OUT_INSIDE = (
    "leave it out, for a method inside the decoder works with dynamic caches and whole prompts only; a method before "
    "the decoder, such as DivPrune, has prepare(model, method, **inputs) for the others"
)
STATIC = "a static cache has its mask made before tokens can be dropped"


@dataclass(frozen=True)
class Past:
    """What a cache holds before a forward pass: slots, removed tokens, and the prefix that pruning left."""

    physical: int = 0
    removed: int = 0
    prefix: PrunedPrefix | None = None

    @property
    def logical(self) -> int:
        """The length that everybody else counts."""
        return self.physical + self.removed


def is_pruned(cache: Cache | None) -> bool:
    """True where `cache` lacks tokens."""
    return any(layer.prefix is not None for layer in _pruned_layers(cache))


def differs_by_layer(cache: Cache | None) -> bool:
    """True where the layers of `cache` lack different tokens."""
    return any(layer.prefix is not None and layer.prefix.differs_by_layer for layer in _pruned_layers(cache))


def schedules_of(cache: Cache | None) -> RowSchedules | None:
    """The schedules of the rows of `cache`, where any of them skips a layer."""
    found = (layer.prefix.schedules for layer in _pruned_layers(cache) if layer.prefix is not None)
    return next((said for said in found if said is not None), None)


def check_goes_on(cache: Cache | None, skips_tokens: bool, skips_layers: bool) -> None:
    """Raise ValueError unless a method inside the decoder can go on with what `cache` lacks."""
    if not is_pruned(cache):
        return
    if skips_tokens or not differs_by_layer(cache):
        raise ValueError(DIFFERS_BY_LAYER if differs_by_layer(cache) else PRUNED_BEFORE)
    if not skips_layers and schedules_of(cache) is not None:
        raise ValueError(SKIPS_LAYERS)


def read_at(cache: Cache | None, number: int) -> Past:
    """What layer `number` of `cache` holds; one that was never pruned is all physical."""
    if cache is None or number >= len(cache.layers):
        return Past()
    layer = cache.layers[number]
    if isinstance(layer, LogicalLength):
        return Past(layer.physical_length, layer.removed, layer.prefix)
    return Past(int(layer.get_seq_length())) if isinstance(layer, CacheLayerMixin) else Past()


def read(cache: Cache | None) -> Past:
    """What every layer of `cache` holds; a cache that was never pruned is all physical."""
    if cache is None or not cache.layers:
        return Past()
    if differs_by_layer(cache):
        raise ValueError(DIFFERS_BY_LAYER)
    for layer in _pruned_layers(cache):
        return Past(layer.physical_length, layer.removed, layer.prefix)
    return Past(int(cache.get_seq_length()))


def check(cache: Cache | None, way_out: str = WAY_OUT) -> None:
    """Raise ValueError unless pruned tokens can be written to `cache`; names the `way_out`."""
    if cache is None:
        return
    if cache.is_compileable:
        raise ValueError(f"{STATIC}: {way_out}")
    kinds = {type(layer) for layer in cache.layers if isinstance(layer, CacheLayerMixin)}
    if not cache.layers and cache.layer_class_to_replicate is not None:
        kinds = {cache.layer_class_to_replicate}
    if not kinds <= {*KINDS, *KINDS.values()}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"want a dynamic cache with plain attention layers, got {names}: {way_out}")


def commit(cache: Cache, removed: int, prefix: PrunedPrefix) -> None:
    """Tell every attention layer of `cache` what it lacks; recurrent layers hold no tokens."""
    for number in range(len(cache.layers)):
        commit_at(cache, number, removed, prefix)


def commit_at(cache: Cache, number: int, removed: int, prefix: PrunedPrefix) -> None:
    """Tell layer `number` of `cache` what it lacks, if it is one of attention."""
    layer = cache.layers[number]
    if type(layer) in KINDS:
        plain, kind = layer, KINDS[type(layer)]
        cache.layers[number] = layer = kind.__new__(kind)
        layer.__dict__.update(plain.__dict__)
    if isinstance(layer, LogicalLength):
        layer.removed, layer.prefix = removed, prefix


def allow_masks(cache: Cache | None, masks_allowed: bool) -> None:
    """Vouch, or stop vouching, that the next mask and positions fit the prefix."""
    for layer in _pruned_layers(cache):
        layer.masks_allowed = masks_allowed


def held_bytes(cache: Cache | None) -> tuple[int, int]:
    """Bytes of keys, values and states that `cache` would hold if nothing had been dropped, and that it holds."""
    before, after, one_layer, skips = 0, 0, 0, schedules_of(cache) is not None
    for layer in cache.layers if cache is not None else ():
        keys = getattr(layer, "keys", None)
        slots = keys.shape[-2] if isinstance(keys, torch.Tensor) and keys.ndim > 1 else 0
        would_be = int(layer.get_seq_length()) if slots and isinstance(layer, CacheLayerMixin) else 0
        if slots and isinstance(layer, DynamicSlidingWindowLayer):
            would_be = min(would_be, max(layer.sliding_window - 1, slots))
        for name, tensor in _tensors(layer):
            own = tensor.numel() * tensor.element_size()
            after += own
            own = own * would_be // slots if slots and name in BY_SLOT else own
            before += own
            # where all rows skip a layer it would hold what the one before it holds
            one_layer = 0 if name == "keys" else one_layer
            one_layer += own if name in BY_SLOT else 0
        if skips and not slots and isinstance(layer, CacheLayerMixin):
            before += one_layer
    return before, after


def _tensors(layer: object) -> Iterator[tuple[str, torch.Tensor]]:
    """What a layer holds, by the names of its attributes; one number alone is none of it, nor is none at all."""
    for name, value in vars(layer).items():
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
        yield from ((name, part) for part in parts if isinstance(part, torch.Tensor) and part.ndim and part.numel())


def _pruned_layers(cache: Cache | None) -> list[LogicalLength]:
    return [layer for layer in getattr(cache, "layers", ()) if isinstance(layer, LogicalLength)]
