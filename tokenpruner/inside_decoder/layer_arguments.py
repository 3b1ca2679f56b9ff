"""The arguments of a decoder layer by name, cut to the tokens that are left.

A text backbone computes masks, positions and their embeddings once and hands the same to all of its layers, in
the kept of the tokens that entered. A layer behind a cut gets them for the tokens that are left.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import nn

from tokenpruner.decoder.backbone_inputs import FOR_THE_LOSS, PER_TOKEN, per_token
from tokenpruner.decoder.kept_tokens import KeptTokens, gather_tokens
from tokenpruner.models.transformers_api import CACHE_ARGUMENTS, Kwargs, not_supported

# one position a token; one embedding of it a token, alone or as cosines and sines
POSITIONS, EMBEDDINGS = "position_ids", "position_embeddings"
PER_TOKEN_OF_LAYER = (*PER_TOKEN, "per_layer_input")
KNOWN = ("attention_mask", POSITIONS, EMBEDDINGS, *CACHE_ARGUMENTS, *FOR_THE_LOSS)


def bound_arguments(layer: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> tuple[torch.Tensor, Kwargs]:
    """Hidden states and all other arguments, by name, of a call of a decoder layer."""
    names = [name for name in inspect.signature(type(layer).forward).parameters][1:]
    given = dict(zip(names, args, strict=False)) | kwargs
    hidden = given.pop(names[0])
    if not isinstance(hidden, torch.Tensor) or hidden.ndim != 3:
        got = [*hidden.shape] if isinstance(hidden, torch.Tensor) else type(hidden).__name__
        raise ValueError(f"want hidden states [B, L, D] to enter {type(layer).__name__}, got {got}")
    return hidden, given


def cut_arguments(given: Kwargs, kept: KeptTokens) -> Kwargs:
    """What of a layer's arguments has one entry a token, for the tokens of `kept`; masks and caches apart."""
    changed: Kwargs = {}
    rows, length = len(kept.index), kept.length
    for name, value in given.items():
        if name == POSITIONS and isinstance(value, torch.Tensor):
            changed[name] = gather_tokens(value, kept.index, -1)
        elif name == EMBEDDINGS and value is not None:
            changed[name] = map_tensors(value, lambda table: gather_tokens(table, kept.index, -2))
        elif (
            name in PER_TOKEN_OF_LAYER
            and isinstance(value, torch.Tensor)
            and value.shape[:2] in ((rows, length), (1, length))
        ):
            changed[name] = gather_tokens(value, kept.index, 1 - value.ndim)
        elif name not in (*KNOWN, *PER_TOKEN_OF_LAYER) and (found := per_token(value, (rows, length))) is not None:
            raise ValueError(f"a decoder layer also takes {name} {[*found.shape]} per token: {not_supported()}")
    return changed


def map_tensors(value: object, change: Callable[[torch.Tensor], torch.Tensor]) -> object:
    """`value` with every tensor in it changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, tuple | list):
        return tuple(map_tensors(part, change) for part in value)
    if isinstance(value, dict):
        return {name: map_tensors(part, change) for name, part in value.items()}
    return value
