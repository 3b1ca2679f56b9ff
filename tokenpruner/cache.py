"""A cache layer that knows its logical length: how many tokens the sequence would have without pruning.

    logical = physical + removed

`get_seq_length` is logical, so that generate(), manual decoding and later turns count on as if nothing had been
dropped; `get_mask_sizes` describes the physical slots, which start at offset `removed`. What a later forward pass
has to know about the rows lies in the layer, so that it follows the cache through beams, copies and batch selections:
which slots hold a token, and by how much later positions are lowered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from tokenpruner.transformers_api import (
    Cache,
    CacheLayerMixin,
    DynamicIndexedLayer,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
)

APART = (
    "the layers of this cache lack different tokens, as a method inside the decoder leaves them: go on inside "
    "`with prune(...)` with such a method that drops tokens"
)
BEFORE = "this cache was pruned before the decoder: go on inside `with prune(...)` with a method of that kind"
OUTSIDE = "this cache holds pruned rows that need their own mask or positions: go on inside `with prune(...)`"
WAY_OUT = "use model.generate(**prepare(model, method, **inputs))"
STATIC = f"a static cache has its mask made before tokens can be dropped: {WAY_OUT}"


@dataclass(frozen=True)
class Prefix:
    """The slots of a pruned cache: `mask` bool [B, P], True where a token stands, and `shift` int64 [B].

    The last `tail` slots stand for the last `tail` tokens: nothing was dropped among them. `is_padded` and
    `is_shifted` say whether any slot is empty and any shift not 0, looked up once; `is_apart` whether the layers of
    the cache lack different tokens, so that no mask fits all of them.
    """

    mask: torch.Tensor
    shift: torch.Tensor
    tail: int
    is_padded: bool
    is_shifted: bool
    is_apart: bool = False

    @classmethod
    def of(cls, mask: torch.Tensor, shift: torch.Tensor, tail: int, is_apart: bool = False) -> Prefix:
        """The prefix of these slots and shifts."""
        return cls(mask, shift, tail, not bool(mask.all()), bool(shift.any()), is_apart)

    def rows(self, index: torch.Tensor) -> Prefix:
        """The prefix of the batch rows `index`."""
        index = index.to(self.mask.device)
        return replace(self, mask=self.mask[index], shift=self.shift[index])

    def cropped(self, count: int) -> Prefix:
        """The prefix without its last `count` slots."""
        return replace(self, mask=self.mask[:, : self.mask.shape[1] - count], tail=self.tail - count)


class Lacking:
    """What a layer of a pruned cache adds to its plain kind: `removed` tokens a row are missing from its past."""

    removed: int = 0
    prefix: Prefix | None = None
    is_covered: bool = False

    @property
    def physical_length(self) -> int:
        """How many slots there have been."""
        return int(super().get_seq_length())  # type: ignore[misc]

    def get_seq_length(self) -> int:
        """The logical length."""
        physical = self.physical_length
        return physical + self.removed if physical else 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the slots that the next mask describes."""
        needs_help = self.prefix is not None and (self.prefix.is_padded or self.prefix.is_shifted)
        if needs_help and not self.is_covered:
            raise ValueError(OUTSIDE)
        return self._slots(query_length)

    def _slots(self, query_length: int) -> tuple[int, int]:
        return self.physical_length + query_length, self.removed

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values; refused where nobody made the mask that this layer needs."""
        if self.prefix is not None and self.prefix.is_apart and not self.is_covered:
            raise ValueError(APART)
        return super().update(key_states, value_states, *args, **kwargs)  # type: ignore[misc]

    def crop(self, tokens_to_remove: int) -> None:
        """Take off the last tokens (a negative count), or cut to a logical length (a positive one)."""
        count = -tokens_to_remove if tokens_to_remove <= 0 else max(self.get_seq_length() - tokens_to_remove, 0)
        prefix = self.prefix
        if prefix is not None:
            inside = max(0, count - self.physical_length + prefix.mask.shape[1])
            if inside > prefix.tail:
                free = count - inside + prefix.tail
                raise ValueError(f"want at most the {free} tokens behind the last dropped one cropped, got {count}")
            prefix = prefix.cropped(inside)
        if count:
            super().crop(-count)  # type: ignore[misc]
        self.prefix = prefix

    def reset(self) -> None:
        """Empty the layer; what comes next is not pruned."""
        super().reset()  # type: ignore[misc]
        self.keys = self.values = None
        self.is_initialized = False
        self.removed, self.prefix = 0, None

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Reorder the rows."""
        super().reorder_cache(beam_idx)  # type: ignore[misc]
        self._take_rows(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row."""
        super().batch_repeat_interleave(repeats)  # type: ignore[misc]
        if self.prefix is not None:
            rows = torch.arange(len(self.prefix.shift), device=self.prefix.shift.device)
            self._take_rows(rows.repeat_interleave(repeats))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Take some rows."""
        super().batch_select_indices(indices)  # type: ignore[misc]
        self._take_rows(indices)

    def _take_rows(self, index: torch.Tensor) -> None:
        if self.prefix is not None:
            self.prefix = self.prefix.rows(index)


class PrunedLayer(Lacking, DynamicLayer):
    """A layer that keeps everything."""


class PrunedIndexedLayer(Lacking, DynamicIndexedLayer):
    """A layer with an index of its keys, which lacks the same tokens."""


class PrunedSlidingLayer(Lacking, DynamicSlidingWindowLayer):
    """A layer that keeps a window: the last tokens of those that were not dropped."""

    def _slots(self, query_length: int) -> tuple[int, int]:
        length, offset = DynamicSlidingWindowLayer.get_mask_sizes(self, query_length)
        return length, offset + self.removed

    def reset(self) -> None:
        """Empty the layer; what comes next is not pruned."""
        super().reset()
        self.cumulative_length = 0


class PrunedHybridLayer(Lacking, LinearAttentionAndFullAttentionLayer):
    """A layer that keeps everything, and a state."""


class PrunedHybridSlidingLayer(PrunedSlidingLayer, LinearAttentionAndSlidingWindowAttentionLayer):
    """A layer that keeps a window, and a state."""


KINDS: dict[type, type[Lacking]] = {
    DynamicLayer: PrunedLayer,
    DynamicIndexedLayer: PrunedIndexedLayer,
    DynamicSlidingWindowLayer: PrunedSlidingLayer,
    LinearAttentionAndFullAttentionLayer: PrunedHybridLayer,
    LinearAttentionAndSlidingWindowAttentionLayer: PrunedHybridSlidingLayer,
}


@dataclass(frozen=True)
class Past:
    """What a cache holds before a forward pass: slots, removed tokens, and the prefix that pruning left."""

    physical: int = 0
    removed: int = 0
    prefix: Prefix | None = None

    @property
    def logical(self) -> int:
        """The length that everybody else counts."""
        return self.physical + self.removed


def is_pruned(cache: Cache | None) -> bool:
    """True where `cache` lacks tokens."""
    return any(layer.prefix is not None for layer in _lacking(cache))


def is_apart(cache: Cache | None) -> bool:
    """True where the layers of `cache` lack different tokens."""
    return any(layer.prefix is not None and layer.prefix.is_apart for layer in _lacking(cache))


def read_at(cache: Cache | None, number: int) -> Past:
    """What layer `number` of `cache` holds; one that was never pruned is all physical."""
    if cache is None or number >= len(cache.layers):
        return Past()
    layer = cache.layers[number]
    if isinstance(layer, Lacking):
        return Past(layer.physical_length, layer.removed, layer.prefix)
    return Past(int(layer.get_seq_length())) if isinstance(layer, CacheLayerMixin) else Past()


def read(cache: Cache | None) -> Past:
    """What every layer of `cache` holds; a cache that was never pruned is all physical."""
    if cache is None or not cache.layers:
        return Past()
    if is_apart(cache):
        raise ValueError(APART)
    for layer in _lacking(cache):
        return Past(layer.physical_length, layer.removed, layer.prefix)
    return Past(int(cache.get_seq_length()))


def check(cache: Cache | None) -> None:
    """Raise unless pruned tokens can be written to `cache`; names the way out."""
    if cache is None:
        return
    if cache.is_compileable:
        raise ValueError(STATIC)
    kinds = {type(layer) for layer in cache.layers if isinstance(layer, CacheLayerMixin)}
    if not cache.layers and cache.layer_class_to_replicate is not None:
        kinds = {cache.layer_class_to_replicate}
    if not kinds <= {*KINDS, *KINDS.values()}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"want a dynamic cache with plain attention layers, got {names}: {WAY_OUT}")


def commit(cache: Cache, removed: int, prefix: Prefix) -> None:
    """Tell every attention layer of `cache` what it lacks; recurrent layers hold no tokens."""
    for number in range(len(cache.layers)):
        commit_at(cache, number, removed, prefix)


def commit_at(cache: Cache, number: int, removed: int, prefix: Prefix) -> None:
    """Tell layer `number` of `cache` what it lacks, if it is one of attention."""
    layer = cache.layers[number]
    if type(layer) in KINDS:
        plain, kind = layer, KINDS[type(layer)]
        cache.layers[number] = layer = kind.__new__(kind)
        layer.__dict__.update(plain.__dict__)
    if isinstance(layer, Lacking):
        layer.removed, layer.prefix = removed, prefix


def cover(cache: Cache | None, is_covered: bool) -> None:
    """Vouch, or stop vouching, that the next mask and positions fit the prefix."""
    for layer in _lacking(cache):
        layer.is_covered = is_covered


def _lacking(cache: Cache | None) -> list[Lacking]:
    return [layer for layer in getattr(cache, "layers", ()) if isinstance(layer, Lacking)]
