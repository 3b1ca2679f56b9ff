"""The side of vLLM that encodes: classes of vLLM whose images leave the encoder with fewer tokens.

`getattr(this module, "vllm.model_executor.models.llava.LlavaForConditionalGeneration@0.32.0")` is the subclass of the
class that stands there.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from tokenpruner.integrations.vllm import mrope_positions
from tokenpruner.integrations.vllm.encoder import Embeddings, pruned_images
from tokenpruner.integrations.vllm.engine_limits import check_engine
from tokenpruner.integrations.vllm.item_request import ItemRequest
from tokenpruner.integrations.vllm.processor import engine_option, pruning_processor, served_model
from tokenpruner.integrations.vllm.served_method import OPTION
from tokenpruner.integrations.vllm.whole_prompt import WholePrompt

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.multimodal.inputs import MultiModalFeatureSpec


def __getattr__(name: str) -> type[nn.Module]:
    """The subclass for `name`, a place in vLLM and its version."""
    place, at, _ = name.partition("@")
    if not at:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own = place.rpartition(".")
    return pruning_model(getattr(importlib.import_module(module), own))


@functools.cache
def pruning_model(base: type[nn.Module]) -> type[nn.Module]:
    """A subclass of a multimodal model of vLLM that prunes; `base` itself where it has no processor to change."""
    factories = getattr(base, "_processor_factory", None)
    if factories is None:
        return base
    kind = _with_images(base)
    if hasattr(base, "get_mrope_input_positions"):
        kind = _with_mrope(kind)
    # vLLM compares names to tell which of its backends runs a model
    kind.__name__ = kind.__qualname__ = base.__name__
    kind._processor_factory = replace(  # type: ignore[attr-defined]
        factories, processor=functools.partial(pruning_processor, factories.processor)
    )
    return kind


def _with_images(base: type[nn.Module]) -> type[nn.Module]:
    """A subclass that keeps of images what their requests want."""

    class PruningModel(base):  # type: ignore[misc, valid-type]
        """The model, which prunes."""

        def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
            config = vllm_config.model_config
            option = engine_option(config)
            # None where nothing is ever pruned
            model = None if option is None else served_model(config).started_with(option)
            if model is not None:
                check_engine(vllm_config)
            super().__init__(vllm_config=vllm_config, prefix=prefix)
            self.prunekit_model = model

        def embed_multimodal(self, **kwargs: object) -> Embeddings:
            """The embeddings of each image or video, those of images pruned as their requests want it."""
            asked = kwargs.pop(OPTION, None)
            if self.prunekit_model is None:
                return super().embed_multimodal(**kwargs)
            requests = [] if asked is None else [ItemRequest.decoded(data) for data in asked]  # type: ignore[attr-defined]
            return pruned_images(self, super().embed_multimodal, requests, kwargs)

        def prunekit_text(self, tokens: Sequence[int], device: torch.device) -> torch.Tensor:
            """Embeddings [T, D] of the `tokens` of a prompt; those of none tell the width."""
            ids = torch.tensor(tokens or (0,), dtype=torch.int64, device=device)
            return self.get_language_model().embed_input_ids(ids)[: len(tokens)]

    return PruningModel


def _with_mrope(base: type[nn.Module]) -> type[nn.Module]:
    """A subclass of it whose shortened images keep their positions of three parts."""

    class PruningMRoPEModel(base):  # type: ignore[misc, valid-type]
        """The model, which prunes and knows where what is left stands."""

        def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
            super().__init__(vllm_config=vllm_config, prefix=prefix)
            # how far the visual tokens of the step that comes lie from the first of their image, [3, L]
            self.prunekit_offsets: torch.Tensor | None = None

        @property
        def prunekit_places(self) -> bool:
            """True where positions hang on what stays."""
            return self.prunekit_model is not None and self.prunekit_model.has_mrope

        def get_mrope_input_positions(
            self, input_tokens: list[int], mm_features: list[MultiModalFeatureSpec]
        ) -> tuple[torch.Tensor, int]:
            """Positions [3, L] of a prompt, of shortened images only marked, and how far the answer's are ahead."""
            if not self.prunekit_places:
                return super().get_mrope_input_positions(input_tokens, mm_features)
            whole = WholePrompt.of(input_tokens, mm_features)
            positions, ahead = super().get_mrope_input_positions(whole.tokens, whole.features)
            marked = mrope_positions.marked_positions(positions, whole.images)
            return marked, ahead + len(whole.tokens) - len(input_tokens)

        def embed_input_ids(
            self,
            input_ids: torch.Tensor,
            multimodal_embeddings: Embeddings | None = None,
            *,
            is_multimodal: torch.Tensor | None = None,
        ) -> torch.Tensor:
            """The embeddings of a step; what those of images carry is put aside for its positions."""
            if self.prunekit_places and multimodal_embeddings and is_multimodal is not None:
                parts = [mrope_positions.without_offsets(own) for own in multimodal_embeddings]
                multimodal_embeddings = [own for own, _ in parts]
                offsets = torch.cat([own for _, own in parts])
                self.prunekit_offsets = mrope_positions.spread(offsets, is_multimodal)
            return super().embed_input_ids(input_ids, multimodal_embeddings, is_multimodal=is_multimodal)

        def __call__(self, *args: object, **kwargs: object) -> object:
            """A step, its positions put right before."""
            offsets, self.prunekit_offsets = self.prunekit_offsets, None
            if offsets is not None:
                mrope_positions.put_right(kwargs["positions"], offsets)  # type: ignore[arg-type]
            return super().__call__(*args, **kwargs)

    return PruningMRoPEModel
