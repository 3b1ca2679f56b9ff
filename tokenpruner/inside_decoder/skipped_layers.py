"""Layers that some rows of a batch skip: the layer runs on the others, and nothing at all runs where all rows skip it.

    out_b = layer(h_b)   for the rows that compute it, as if they were the batch
    out_b = h_b          for the others, whose keys and values are never made

The slots of a cache layer are those of all rows: a row that skips the layer has zeros there, which nobody reads, for it
skips the layer in every later pass too. Where all rows skip a layer from the start its cache stays empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from tokenpruner.inside_decoder.layer_arguments import EMBEDDINGS, PER_TOKEN_OF_LAYER, POSITIONS, map_tensors
from tokenpruner.models.attention_probe import StandInCache, attention_of
from tokenpruner.models.decoder_layers import DecoderLayers
from tokenpruner.models.transformers_api import Cache, Kwargs, cache_argument, cache_of, is_checkpointed
from tokenpruner.report.flops import RECURRENT

Forward = Callable[..., object]


class SomeRowsCache(StandInCache):
    """What a layer hands over of some rows goes into the cache of all `n_rows`, and it gets what belongs to them."""

    def __init__(self, cache: Cache, rows: torch.Tensor, n_rows: int) -> None:
        super().__init__(cache)
        self.rows, self.n_rows = rows, n_rows

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Those of the rows, behind those of earlier passes."""
        both = (x.new_zeros(self.n_rows, *x.shape[1:]).index_copy(0, self.rows, x) for x in (keys, values))
        held = self.cache.update(*both, layer_idx, *args, **kwargs)  # type: ignore[union-attr]
        return held[0][self.rows], held[1][self.rows]


def run_rows(layer: nn.Module, forward: Forward, given: Kwargs, rows: Sequence[int], slot: int) -> torch.Tensor:
    """What `layer` puts out for its arguments by name, hidden states [B, P, D] first, where only `rows` compute it."""
    name, *_ = given
    # the hooks before it have looked
    hidden: torch.Tensor = given[name]  # type: ignore[assignment]
    cache = cache_of(given)
    if not rows:
        _hold_empty_slots(cache, slot, hidden)
        return hidden
    index, n_rows = torch.tensor(rows, device=hidden.device), len(hidden)
    own = given | _of_rows(given, index, n_rows) | {name: hidden[index]}
    if cache is not None:
        own[cache_argument(layer, given)] = SomeRowsCache(cache, index, n_rows)
    output = forward(**own)
    if not isinstance(output, torch.Tensor):
        raise ValueError(f"want hidden states from {type(layer).__name__}, got {type(output).__name__}")
    return hidden.index_copy(0, index, output.to(hidden))


def check_skippable(layers: DecoderLayers, skipped: Sequence[int]) -> None:
    """Raise ValueError, with the layer's name, where more than hidden states would lack one of the layers `skipped`."""
    for number in skipped:
        layer = layers.modules[number]
        found, why = attention_of(layer), ""
        if found is None:
            why = "has no attention whose keys could be left out"
        elif number <= layers.first_attending:
            why = "is the first with keys, by which the past is counted"
        elif getattr(found[1], "indexer", None) is not None:
            why = "keeps an index beside its keys"
        elif any(name.rpartition(".")[2] in RECURRENT for name, _ in layer.named_parameters()):
            why = "keeps a state from token to token"
        elif type(layer) is not type(layers.modules[0]):
            why = f"is of another kind than the first layer, {type(layers.modules[0]).__name__}"
        if why:
            raise _not_skippable(number, layer, why)


def check_not_recomputed(layers: DecoderLayers, skipped: Sequence[int]) -> None:
    """Raise ValueError where the backward pass would compute a layer that was skipped."""
    for number in skipped:
        if is_checkpointed(layers.modules[number]):
            raise _not_skippable(number, layers.modules[number], "is computed again by gradient checkpointing")


def _not_skippable(number: int, layer: nn.Module, why: str) -> ValueError:
    return ValueError(
        f"layer {number}, {type(layer).__name__}, cannot be skipped: it {why}; take schedules that only drop tokens"
    )


def _of_rows(given: Kwargs, rows: torch.Tensor, n_rows: int) -> Kwargs:
    """What of a layer's arguments has an entry a row, for those `rows`."""

    def taken(value: torch.Tensor, dim: int) -> torch.Tensor:
        has_rows = value.ndim >= -dim and value.shape[dim] == n_rows
        return value.index_select(dim, rows.to(value.device)) if has_rows else value

    changed: Kwargs = {}
    for name, value in given.items():
        if name == POSITIONS and isinstance(value, torch.Tensor):
            changed[name] = taken(value, -2)
        elif name == EMBEDDINGS and value is not None:
            changed[name] = map_tensors(value, lambda table: taken(table, -3))
        elif name in ("attention_mask", *PER_TOKEN_OF_LAYER) and isinstance(value, torch.Tensor):
            changed[name] = taken(value, -value.ndim)
    return changed


def _hold_empty_slots(cache: Cache | None, slot: int, hidden: torch.Tensor) -> None:
    """Let a cache layer that holds slots grow as those of other layers do, and one that never did hold none of them."""
    layer = cache.layers[slot] if cache is not None and slot < len(cache.layers) else None
    keys = getattr(layer, "keys", None)
    if cache is not None and layer is not None and keys is None:
        # cropping cuts whatever stands there, also nothing; a layer before may have a state and no keys
        held = next((one for one in cache.layers if isinstance(getattr(one, "keys", None), torch.Tensor)), None)
        if held is not None:
            layer.keys, layer.values = (x.new_empty(*x.shape[:-2], 0, x.shape[-1]) for x in (held.keys, held.values))
    if cache is None or layer is None or not isinstance(keys, torch.Tensor) or not keys.numel():
        return
    both = (x.new_zeros(*x.shape[:-2], hidden.shape[1], x.shape[-1]) for x in (keys, layer.values))
    cache.update(*both, slot)
