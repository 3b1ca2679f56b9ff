"""Images of several requests, encoded together, each with the tokens that its own method keeps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import nn

from tokenpruner.base.before_decoder import Method
from tokenpruner.integrations.vllm.item_request import ItemRequest
from tokenpruner.integrations.vllm.kept_embeddings import Kept, evenly_spaced, kept_embeddings
from tokenpruner.integrations.vllm.mrope_positions import offsets_of, with_offsets
from tokenpruner.integrations.vllm.served_method import ServedModel, served_method
from tokenpruner.integrations.vllm.tower import watched_tower
from tokenpruner.models.image_layouts import Layout, layouts_of

log = logging.getLogger(__name__)
# [N, W] an image or video
Embeddings = Sequence[torch.Tensor]
Arguments = Mapping[str, object]


class Encoder(Protocol):
    """A model of vLLM that prunes."""

    prunekit_model: ServedModel
    # transformers' own, where vLLM runs it
    model: nn.Module

    def prunekit_text(self, tokens: Sequence[int], device: torch.device) -> torch.Tensor:
        """Embeddings [T, D] of the tokens of a prompt."""


@torch.no_grad()
def pruned_images(
    model: Encoder, encode: Callable[..., Embeddings], requests: Sequence[ItemRequest], given: Arguments
) -> Embeddings:
    """What `encode` makes of the arguments `given`, of each image [n, W] what is left; whole without `requests`.

    Where positions have three parts, each token carries in more columns where it lay in its image.
    """
    has_mrope = model.prunekit_model.has_mrope
    if not requests:
        whole = [*encode(**given)]
        return [with_offsets(own, None) for own in whole] if has_mrope else whole
    methods = [served_method(request.method, model.prunekit_model) for request in requests]
    found, layouts = _encoded(model, encode, given, any(own is not None and own.tower_needs()[0] for own in methods))
    pruned = []
    for values, request, layout, method in zip(found, requests, layouts, methods, strict=True):
        if method is None or len(values) != request.size:
            raise ValueError(f"want {request.size} embeddings of an image, got {len(values)}")
        kept = _kept(values, model.prunekit_text(request.text, values.device), layout, method)
        places = offsets_of(layout).to(kept.index.device)[kept.index] if has_mrope else None
        pruned.append(with_offsets(kept.values, places) if has_mrope else kept.values)
    return pruned


def _encoded(
    model: Encoder, encode: Callable[..., Embeddings], given: Arguments, reads_tower: bool
) -> tuple[Embeddings, Sequence[Layout]]:
    """What `encode` makes of the images, and how the tokens of each lie, with what the tower says of them if asked."""
    newline = _newline(model)
    if reads_tower:
        with watched_tower(model.model, *model.prunekit_model.tower, newline) as layouts:
            return [*encode(**given)], layouts
    found = [*encode(**given)]
    return found, layouts_of(found, given, newline) or [Layout(len(own)) for own in found]


def _kept(values: torch.Tensor, text: torch.Tensor, layout: Layout, method: Method) -> Kept:
    """What is left of an image; of one that was encoded to NaN or infinity evenly spaced tokens.

    A method refuses such values, and an error here would end the engine for everybody.
    """
    if not bool(values.isfinite().all()):
        log.warning("an image was encoded to NaN or infinity: evenly spaced tokens of it are kept")
        return evenly_spaced(values, method.counts([len(values)])[0])
    return kept_embeddings(values, text, layout, method)


def _newline(model: object) -> torch.Tensor | None:
    """The embedding that ends the lines of an image, where a model has one."""
    for own in (model, getattr(model, "model", None)):
        newline = getattr(own, "image_newline", None)
        if isinstance(newline, torch.Tensor):
            return newline.detach()
    return None
