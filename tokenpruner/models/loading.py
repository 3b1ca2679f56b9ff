"""A model from a folder or a hub id, and pictures with a question as its inputs.

Weights are read from safetensors only, and no code that comes with a model is ever run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedModel, ProcessorMixin


Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Loaded:
    """A vision-language model and its processor."""

    model: PreTrainedModel
    processor: ProcessorMixin


def load_picture(path: Path) -> Image:
    """A picture from a file; raises ValueError or OSError that names it."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError('reading pictures needs Pillow: pip install "prunekit[tokens]"') from error
    try:
        return Image.open(path).convert("RGB")
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: want a picture, got something else") from error


def load(name: str, device: str = "auto", dtype: str = "auto") -> Loaded:
    """The model in the folder or of the hub id `name`; raises ValueError where it is no vision-language model."""
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    if name.startswith((".", "/", "~")) and not Path(name).is_dir():
        raise ValueError(f"{name}: want a model's folder that is there, or a hub id")
    kind = AutoConfig.from_pretrained(name, trust_remote_code=False).model_type
    if kind not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise ValueError(f"{name}: want a vision-language model, got one of type {kind}")
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    model = AutoModelForImageTextToText.from_pretrained(
        name, dtype=dtype, use_safetensors=True, trust_remote_code=False
    )
    return Loaded(model.to(where).eval(), AutoProcessor.from_pretrained(name, trust_remote_code=False))


def encode(loaded: Loaded, pictures: Sequence[Image], prompt: str) -> Inputs:
    """What generate() takes for `pictures` and a question about them, in the model's chat form if it has one."""
    processor, model = loaded.processor, loaded.model
    token = getattr(processor, "image_token", "")
    text = f"{token}\n" * len(pictures) + prompt if token else prompt
    if getattr(processor, "chat_template", None):
        images = [{"type": "image", "image": own} for own in pictures]
        text = _rendered(processor, [*images, {"type": "text", "text": prompt}]) or _rendered(processor, text) or text
    start = getattr(processor.tokenizer, "bos_token", None)
    own = {"add_special_tokens": False} if start and text.startswith(start) else {}
    inputs = processor(images=[*pictures], text=[text], return_tensors="pt", **own)
    inputs = inputs.to(model.device)
    return {name: value.to(model.dtype) if torch.is_floating_point(value) else value for name, value in inputs.items()}


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
    from PIL import Image

    pixels, prepare = inputs.get("pixel_values"), getattr(loaded.processor, "image_processor", None)
    mean, std = (getattr(prepare, name, None) for name in ("image_mean", "image_std"))
    if pixels is None or pixels.ndim != 4 or len(pixels) != len(pictures) or pixels.shape[1] != 3 or not (mean and std):
        return [*pictures]
    shape = (1, 3, 1, 1)
    plain = pixels.float().cpu() * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)
    values = (plain.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
    return [Image.fromarray(own.numpy()) for own in values]
