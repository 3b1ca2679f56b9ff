"""A model from a folder or a hub id, and pictures with a question as its inputs.

Weights are read from safetensors only, all of them, and no code that comes with a model is ever run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from prunekernels.extras import require
from prunekernels.io.checkpoint import find_checkpoint
from prunekernels.io.model_loading import load_model, loading_errors, quiet

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import BatchFeature, PreTrainedModel, ProcessorMixin


Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Loaded:
    """A vision-language model and its processor."""

    model: PreTrainedModel
    processor: ProcessorMixin


def load(name: str, device: str = "auto", dtype: str = "auto") -> Loaded:
    """The model in the folder or of the hub id `name`; raises ValueError where it is no vision-language model.

    As `load_model` does, it refuses code, pickles, broken files and weights that are missing or left over.
    """
    from transformers import AutoProcessor
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    if name.startswith((".", "/", "~")) and not Path(name).is_dir():
        raise ValueError(f"{name}: want a model's folder that is there, or a hub id")
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    with loading_errors(f"device {where}", "one that is there"):
        torch.empty(0, device=where)
    checkpoint = find_checkpoint(name)
    kind = checkpoint.config.get("model_type")
    if not isinstance(kind, str) or kind not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise ValueError(f"{name}: want a vision-language model, got one of type {kind!s:.80}")
    model = load_model(checkpoint, "AutoModelForImageTextToText", dtype)
    with quiet(), loading_errors(checkpoint.folder, "the processor of a vision-language model"):
        processor = AutoProcessor.from_pretrained(checkpoint.folder, trust_remote_code=False)
    if getattr(processor, "tokenizer", None) is None:
        raise ValueError(f"{checkpoint.folder}: want a processor with a tokenizer, got {type(processor).__name__}")
    with loading_errors(f"device {where}", "room for the model"):
        return Loaded(model.to(where).eval(), processor)


def encode(loaded: Loaded, pictures: Sequence[Image], prompt: str) -> Inputs:
    """What generate() takes for `pictures` and a question about them, in the model's chat form if it has one.

    Raises ValueError where processor and model do not fit each other.
    """
    processor, model = loaded.processor, loaded.model
    with loading_errors(type(processor).__name__, "a processor that takes pictures and text"):
        inputs = _processed(processor, pictures, prompt)
    largest, n_known = int(inputs["input_ids"].max()), model.get_input_embeddings().num_embeddings
    if largest >= n_known:
        raise ValueError(f"want tokens below {n_known}, which the model knows, got {largest} of its tokenizer")
    inputs = inputs.to(model.device)
    return {name: value.to(model.dtype) if torch.is_floating_point(value) else value for name, value in inputs.items()}


def _processed(processor: ProcessorMixin, pictures: Sequence[Image], prompt: str) -> BatchFeature:
    token = getattr(processor, "image_token", "")
    text = f"{token}\n" * len(pictures) + prompt if token else prompt
    if getattr(processor, "chat_template", None):
        images = [{"type": "image", "image": own} for own in pictures]
        text = _rendered(processor, [*images, {"type": "text", "text": prompt}]) or _rendered(processor, text) or text
    start = getattr(processor.tokenizer, "bos_token", None)
    own = {"add_special_tokens": False} if start and text.startswith(start) else {}
    return processor(images=[*pictures], text=[text], return_tensors="pt", **own)


def _rendered(processor: ProcessorMixin, content: str | list[dict[str, object]]) -> str:
    """The chat form of one message; "" where the template is made for another kind of content."""
    from jinja2 import TemplateError

    try:
        text = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
    except (TypeError, TemplateError):
        return ""
    # the template of a text model prints what it does not know
    return "" if "'type': 'image'" in text else str(text)


def as_seen(loaded: Loaded, inputs: Inputs, pictures: Sequence[Image]) -> list[Image]:
    """The pictures as they entered the image encoder, cropped and scaled, where that can be told from their pixels."""
    pixels, prepare = inputs.get("pixel_values"), getattr(loaded.processor, "image_processor", None)
    mean, std = (getattr(prepare, name, None) for name in ("image_mean", "image_std"))
    if pixels is None or pixels.ndim != 4 or len(pixels) != len(pictures) or pixels.shape[1] != 3:
        return [*pictures]
    if not (mean and std and len(mean) == len(std) == 3):
        return [*pictures]
    shape = (1, 3, 1, 1)
    plain = pixels.float().cpu() * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)
    values = (plain.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
    return [require("PIL.Image", "tokens").fromarray(own.numpy()) for own in values]
