"""The side of vLLM that reads prompts: an image gets as few placeholders as tokens of it will be left.

What prunes an image is made part of what vLLM's caches know it by, and travels with it into the engine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from tokenpruner.integrations.vllm.item_request import ItemRequest
from tokenpruner.integrations.vllm.served_method import ALL_TOKENS, OPTION, ServedModel, served_method
from tokenpruner.integrations.vllm.trial import try_method
from tokenpruner.models.adapter import config_number

if TYPE_CHECKING:
    from transformers import BatchFeature
    from vllm.config import ModelConfig
    from vllm.multimodal.inputs import (
        MultiModalFieldConfig,
        MultiModalInput,
        MultiModalKwargsItem,
        MultiModalKwargsItems,
    )
    from vllm.multimodal.parse import MultiModalDataItems
    from vllm.multimodal.processing import (
        BaseDummyInputsBuilder,
        BaseMultiModalProcessor,
        BaseProcessingInfo,
        ProcessorInputs,
        ResolvedPromptUpdate,
        TimingContext,
    )

IMAGE = "image"
# the others enter whole; models that mix images and videos in one kind have other names
KNOWN_KINDS = {IMAGE, "video", "audio"}
# what configurations call the token that stands for an image or a video
PLACEHOLDERS = ("image_token_id", "image_token_index", "video_token_id", "video_token_index")
Updates = dict[str, list[Sequence["ResolvedPromptUpdate"]]]
Options = Mapping[str, object]
Factory = Callable[["BaseProcessingInfo", "BaseDummyInputsBuilder"], "BaseMultiModalProcessor"]


def served_model(config: ModelConfig) -> ServedModel:
    """What decides which methods the model of `config` takes."""
    return ServedModel(config.architecture, config.uses_mrope, config.using_transformers_backend())


def engine_option(config: ModelConfig) -> object:
    """The method that an engine was started with; None where it was started without."""
    if OPTION in (config.get_multimodal_config().mm_processor_kwargs or {}):
        raise ValueError(
            f"{OPTION} of mm_processor_kwargs is for a request: start an engine with "
            f"""--hf-overrides '{{"{OPTION}": "divprune:keep_ratio=0.1"}}'"""
        )
    return getattr(config.hf_config, OPTION, None)


def pruning_processor(
    make: Factory, info: BaseProcessingInfo, dummy_inputs: BaseDummyInputsBuilder
) -> BaseMultiModalProcessor:
    """What `make` makes, which shortens what stands for an image.

    Raises ValueError where the engine is to prune a model whose images go past its decoder.
    """
    from vllm.multimodal.processing import EncDecMultiModalProcessor

    made, config = make(info, dummy_inputs), info.ctx.model_config
    option = engine_option(config)
    if isinstance(made, EncDecMultiModalProcessor):
        if option is not None:
            raise ValueError(f"{config.architecture} has an encoder beside its decoder, which prunekit cannot prune")
        return made
    kind: type = type(made)
    made.__class__ = _pruning_class(kind)
    model = served_model(config)
    made.prunekit_option, made.prunekit_model = option, model if option is None else model.started_with(option)
    own = None if option is None else served_method(option, made.prunekit_model)
    made.prunekit_method = None if own is None else str(own)
    found = (config_number(config.hf_config, name) for name in PLACEHOLDERS)
    made.prunekit_placeholders = {token for token in found if token is not None}
    return made


@functools.cache
def _pruning_class(base: type) -> type:
    """A subclass of a model's processor that shortens what stands for an image."""

    class PruningProcessor(base):
        """The processor, which prunes."""

        prunekit_option: object
        prunekit_model: ServedModel
        # that of the engine, tried when it starts
        prunekit_method: str | None
        # tokens that are no text
        prunekit_placeholders: set[int]

        def apply(self, inputs: ProcessorInputs, timing_ctx: TimingContext) -> MultiModalInput:
            """As the base does, with what prunes the images of this request among its options."""
            options = dict(inputs.hf_processor_mm_kwargs)
            asked = options.pop(OPTION, self.prunekit_option)
            request = None if asked is None else self.prunekit_request(asked, inputs)
            if request is None:
                return super().apply(replace(inputs, hf_processor_mm_kwargs=options), timing_ctx)
            options[OPTION] = request.key()
            return super().apply(replace(inputs, hf_processor_mm_kwargs=options), timing_ctx)

        def prunekit_request(self, asked: object, inputs: ProcessorInputs) -> ItemRequest | None:
            """What is asked of the images of a prompt; None where all their tokens stay."""
            if self.prunekit_option is None:
                raise ValueError(
                    f"this engine prunes nothing: for requests that name a method start it with "
                    f'--hf-overrides \'{{"{OPTION}": "{ALL_TOKENS}"}}\''
                )
            method = served_method(asked, self.prunekit_model)
            counts = inputs.mm_data_items.get_all_counts()
            others = {kind for kind, n in counts.items() if n} - KNOWN_KINDS
            if method is not None and others:
                raise ValueError(f'{", ".join(sorted(others))} of this model cannot be pruned: take "{ALL_TOKENS}"')
            if method is None or method.keeps_all or not counts.get(IMAGE):
                return None
            reads_text = "text" in method.needs
            text = [token for token in inputs.prompt if reads_text and token not in self.prunekit_placeholders]
            return ItemRequest(str(method), tuple(text))

        def _apply_hf_processor_main(self, mm_items: MultiModalDataItems, hf_kwargs: Options) -> BatchFeature:
            return super()._apply_hf_processor_main(mm_items, _without(hf_kwargs))

        def _get_mm_fields_config(
            self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Options
        ) -> Mapping[str, MultiModalFieldConfig]:
            return super()._get_mm_fields_config(hf_inputs, _without(hf_processor_mm_kwargs))

        def _get_mm_prompt_updates(
            self,
            mm_items: MultiModalDataItems,
            hf_processor_mm_kwargs: Options,
            out_mm_kwargs: MultiModalKwargsItems,
        ) -> Updates:
            found = super()._get_mm_prompt_updates(mm_items, _without(hf_processor_mm_kwargs), out_mm_kwargs)
            key = hf_processor_mm_kwargs.get(OPTION)
            if not isinstance(key, Mapping) or IMAGE not in found:
                return found
            # those that are in the cache already are not among them
            items = out_mm_kwargs.get(IMAGE, ())
            images = [
                self.prunekit_shortened(updates, item, key) for updates, item in zip(found[IMAGE], items, strict=True)
            ]
            return {**found, IMAGE: images}

        def prunekit_shortened(
            self, updates: Sequence[ResolvedPromptUpdate], item: MultiModalKwargsItem, key: Options
        ) -> Sequence[ResolvedPromptUpdate]:
            """The updates for one image with as few placeholders as it will have tokens; `item` tells the engine."""
            masks = [_embedded(update) for update in updates]
            size = int(masks[0].sum())
            request = ItemRequest(str(key["method"]), tuple(key["text"]), size)  # type: ignore[arg-type]
            method = served_method(request.method, self.prunekit_model)
            if method is None:
                return updates
            if request.method != self.prunekit_method:
                # what fails in the engine ends it
                try_method(method, size, item.get_data())
            _tell_engine(item, request)
            n = method.counts([size])[0]
            return [_with_placeholders(update, mask, n) for update, mask in zip(updates, masks, strict=True)]

    PruningProcessor.__name__ = PruningProcessor.__qualname__ = base.__name__
    return PruningProcessor


def _embedded(update: ResolvedPromptUpdate) -> torch.Tensor:
    """Which tokens of an update stand for a part of the image, bool [L]; raises ValueError unless in one run."""
    full, is_embed = update.content.full, update.content.is_embed
    mask = torch.ones(len(full), dtype=torch.bool) if is_embed is None else is_embed(full).bool()
    if int((mask.int().diff(prepend=torch.zeros(1, dtype=torch.int32)) == 1).sum()) != 1:
        raise ValueError(
            "the placeholders of an image stand in several runs, with other tokens between them, and how many are left "
            f'of each is not known before it is encoded: take {OPTION}="none" for this model'
        )
    return mask


def _tell_engine(item: MultiModalKwargsItem, request: ItemRequest) -> None:
    """Let `request` travel with an image."""
    from vllm.multimodal.inputs import MultiModalBatchedField, MultiModalFieldElem

    item[OPTION] = MultiModalFieldElem(request.encoded(), MultiModalBatchedField(keep_on_cpu=True))


def _with_placeholders(update: ResolvedPromptUpdate, mask: torch.Tensor, n: int) -> ResolvedPromptUpdate:
    """`update` with the first `n` of the tokens where `mask` [L]."""
    from vllm.multimodal.processing import PromptUpdateDetails

    stays = ~mask | (mask.cumsum(0) <= n)
    full = [token for token, own in zip(update.content.full, stays.tolist(), strict=True) if own]
    is_embed = None if bool(mask.all()) else functools.partial(_known_mask, tuple(mask[stays].tolist()))
    return replace(update, content=PromptUpdateDetails(full=full, is_embed=is_embed))


def _known_mask(mask: Sequence[bool], full: list[int]) -> torch.Tensor:
    return torch.tensor(mask)


def _without(options: Options) -> Options:
    return {name: value for name, value in options.items() if name != OPTION}
