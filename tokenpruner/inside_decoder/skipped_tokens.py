"""Tokens that pass a layer by: it computes the others, and has everybody's keys and values to read.

    out_i = layer(h)_i   for tokens that are computed, which attend to all tokens as ever
    out_i = h_i          for those that are skipped, whose keys and values are made of h_i like any other's

So the cache stays of full length and later passes need no help. What the layer saves is queries, attention and MLP
of the skipped tokens. Keys and values, or what a layer makes them of, come from the layer's own code, run on all tokens
up to its attention; that makes queries too, which nobody reads.
"""

from __future__ import annotations

import torch
from torch import nn

from tokenpruner.decoder.kept_tokens import KeptTokens, gather_tokens
from tokenpruner.inside_decoder.layer_arguments import cut_arguments
from tokenpruner.models import attention_probe
from tokenpruner.models.attention import causal
from tokenpruner.models.attention_probe import ReadOnlyCache, StandInCache
from tokenpruner.models.transformers_api import Cache, Kwargs, cache_argument, cache_of


class RecordingCache(ReadOnlyCache):
    """Notes what a layer would write for all tokens."""

    written: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the attention function would get; handed over are keys and values, or what a layer makes them of."""
        self.written = keys, values
        return super().update(keys, values, layer_idx, *args, **kwargs)


class AllTokensCache(StandInCache):
    """Whatever a layer hands over, it gets, and its cache is written, what was `written` for all tokens."""

    def __init__(self, written: tuple[torch.Tensor, torch.Tensor], cache: Cache | None) -> None:
        super().__init__(cache)
        self.written = written

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Those of all tokens, behind those of earlier turns."""
        return self.written if self.cache is None else self.cache.update(*self.written, layer_idx, *args, **kwargs)


def computed_arguments(
    layer: nn.Module, hidden: torch.Tensor, given: Kwargs, kept: KeptTokens, recorder: RecordingCache | None = None
) -> tuple[torch.Tensor, Kwargs]:
    """What `layer` is called with in place of `hidden` [B, L, D] and `given` to compute the tokens of `kept`.

    `recorder` has seen what the layer writes for all tokens, where that was read for the choice.
    """
    cache, name = cache_of(given), cache_argument(layer, given)
    if recorder is None:
        recorder = RecordingCache(cache)
        attention_probe.read(layer, hidden, given, recorder)
    if recorder.written is None:
        raise ValueError(f'mode="skip": {type(layer).__name__} hands no keys and values to a cache: not supported')
    changed = cut_arguments(given, kept)
    changed[name] = AllTokensCache(recorder.written, cache)
    changed["attention_mask"] = _rows(given.get("attention_mask"), kept)
    real = kept.mask[..., None].to(hidden.device)
    return gather_tokens(hidden, kept.index, -2).masked_fill(~real, 0), given | changed


def with_skipped(hidden: torch.Tensor, output: torch.Tensor, kept: KeptTokens) -> torch.Tensor:
    """`hidden` [B, L, D] with the layer's `output` [B, P, D] in the place of the tokens that were computed."""
    index, mask = kept.index.to(output.device), kept.mask.to(output.device)
    rows = torch.arange(len(index), device=output.device)[:, None].expand_as(index)
    whole = hidden.to(output.device).clone()
    whole[rows[mask], index[mask]] = output[mask]
    return whole


def _rows(given: object, kept: KeptTokens) -> torch.Tensor:
    """The rows of a mask that belong to the tokens of `kept`, with all columns."""
    index = kept.index
    if given is None:
        # causality alone, which is only relied on where nothing stands before
        seen = causal(kept.length, index.device)[None, None].expand(len(index), -1, -1, -1)
        return _gather_rows(seen, index)
    if not isinstance(given, torch.Tensor) or given.ndim != 4:
        got = f"{given.ndim} dimensions" if isinstance(given, torch.Tensor) else type(given).__name__
        raise ValueError(f'mode="skip" wants attention "sdpa" or "eager", got a mask of {got}')
    return _gather_rows(given.expand(len(index), -1, -1, -1), index.to(given.device))


def _gather_rows(mask: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return mask.gather(2, index[:, None, :, None].expand(-1, mask.shape[1], -1, mask.shape[3]))
