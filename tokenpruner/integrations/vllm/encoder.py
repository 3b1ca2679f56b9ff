"""Images of several requests, encoded together, each with the tokens that its own method keeps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch

from tokenpruner.base.before_decoder import Method
from tokenpruner.integrations.vllm.item_request import ItemRequest
from tokenpruner.integrations.vllm.kept_embeddings import Kept, evenly_spaced, kept_embeddings
from tokenpruner.integrations.vllm.mrope_positions import offsets_of, with_offsets
from tokenpruner.integrations.vllm.served_method import ServedModel, served_method
from tokenpruner.models.image_layouts import Layout, layouts_of

log = logging.getLogger(__name__)
# [N, W] an image or video
Embeddings = Sequence[torch.Tensor]
Arguments = Mapping[str, object]


class Encoder(Protocol):
    """A model of vLLM that prunes."""

    prunekit_model: ServedModel

    def prunekit_text(self, tokens: Sequence[int], device: torch.device) -> torch.Tensor:
        """Embeddings [T, D] of the tokens of a prompt."""


@torch.no_grad()
def pruned_images(
    model: Encoder, encode: Callable[..., Embeddings], requests: Sequence[ItemRequest], given: Arguments
) -> Embeddings:
    """What `encode` makes of the arguments `given`, of each image [n, W] what is left; whole without `requests`.

    Where positions have three parts, each token carries in more columns where it lay in its image.
    """
    found, has_mrope = [*encode(**given)], model.prunekit_model.has_mrope
    if not requests:
        return [with_offsets(own, None) for own in found] if has_mrope else found
    layouts = layouts_of(found, given, _newline(model)) or [Layout(len(own)) for own in found]
    pruned = []
    for values, request, layout in zip(found, requests, layouts, strict=True):
        method = served_method(request.method, model.prunekit_model)
        if method is None or len(values) != request.size:
            raise ValueError(f"want {request.size} embeddings of an image, got {len(values)}")
        kept = _kept(values, model.prunekit_text(request.text, values.device), layout, method)
        places = offsets_of(layout).to(kept.index.device)[kept.index] if has_mrope else None
        pruned.append(with_offsets(kept.values, places) if has_mrope else kept.values)
    return pruned


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
