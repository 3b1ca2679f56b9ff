"""Tiny random models of several families in folders, with the processors that vLLM and transformers both read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tests.tokenpruner.adapters.tiny_config import IMAGE_TOKEN, VOCABULARY, draw, shrunk

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, ProcessorMixin

# vLLM's attention wants heads of 32 on a CPU
SIZES: Mapping[str, object] = {
    "text_config.hidden_size": 64,
    "text_config.head_dim": 32,
    "text_config.num_attention_heads": 2,
    "text_config.max_position_embeddings": 2048,
}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]}
VISION = ("<|image_pad|>", "<|video_pad|>", "", "<|vision_start|>", "<|vision_end|>")
GLM = (
    *("<|image|>", "<|video|>", "", "<|begin_of_image|>", "<|end_of_image|>"),
    *("<|begin_of_video|>", "<|end_of_video|>"),
)
PINPOINTS = [[128, 64], [64, 128]]
CROP = {"height": 64, "width": 64}
PIXELS = {"shortest_edge": 64 * 64, "longest_edge": 160 * 160}


def _llava(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    from transformers import CLIPImageProcessor, LlavaProcessor

    images = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=CROP)
    return LlavaProcessor(images, tokenizer, 8, "default", image_token="<image>", num_additional_image_tokens=1)


def _llava_next(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    from transformers import LlavaNextImageProcessor, LlavaNextProcessor

    images = LlavaNextImageProcessor(size={"shortest_edge": 64}, crop_size=CROP, image_grid_pinpoints=PINPOINTS)
    return LlavaNextProcessor(images, tokenizer, 8, "default", image_token="<image>", num_additional_image_tokens=1)


def _llava_onevision(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    from transformers import LlavaOnevisionImageProcessor, LlavaOnevisionProcessor, LlavaOnevisionVideoProcessor

    images = LlavaOnevisionImageProcessor(size=CROP, image_grid_pinpoints=PINPOINTS)
    videos = LlavaOnevisionVideoProcessor(size=CROP)
    return LlavaOnevisionProcessor(
        images, tokenizer, videos, num_image_tokens=64, vision_feature_select_strategy="full"
    )


def _qwen2_vl(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    sides = {"patch_size": 8, "merge_size": 2}
    return Qwen2VLProcessor(Qwen2VLImageProcessor(size=PIXELS, **sides), tokenizer, Qwen2VLVideoProcessor(**sides))


def _qwen2_5_vl(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    sides = {"patch_size": 8, "merge_size": 2}
    return Qwen2_5_VLProcessor(Qwen2VLImageProcessor(size=PIXELS, **sides), tokenizer, Qwen2VLVideoProcessor(**sides))


def _qwen3_vl(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    sides = {"patch_size": 8, "merge_size": 2}
    return Qwen3VLProcessor(Qwen2VLImageProcessor(size=PIXELS, **sides), tokenizer, Qwen3VLVideoProcessor(**sides))


def _glm4v(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    from transformers import Glm4vImageProcessor, Glm4vProcessor, Glm4vVideoProcessor

    sides = {"patch_size": 8, "merge_size": 2}
    return Glm4vProcessor(Glm4vImageProcessor(size=PIXELS, **sides), tokenizer, Glm4vVideoProcessor(**sides))


def _internvl(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    from transformers import GotOcr2ImageProcessor, InternVLProcessor, InternVLVideoProcessor

    # of several tiles `prune` judges each by itself, vLLM's plug-in the image as a whole
    images = GotOcr2ImageProcessor(size=CROP, min_patches=1, max_patches=1)
    return InternVLProcessor(images, tokenizer, InternVLVideoProcessor(size=CROP), image_seq_length=16)


@dataclass(frozen=True)
class Family:
    """A family: its processor, the text of an image in a prompt, its `tokens` from `IMAGE_TOKEN` on, and its sizes."""

    processor: Callable[[PreTrainedTokenizerFast], ProcessorMixin]
    image: str = "<image>"
    tokens: tuple[str, ...] = ("<image>", "<video>")
    sizes: Mapping[str, object] = field(default_factory=dict)


QWEN = "<|vision_start|><|image_pad|><|vision_end|>"
ROPE = {"text_config.rope_parameters": MROPE}
WIDTH = {"vision_config.out_hidden_size": 64}

FAMILIES: dict[str, Family] = {
    "llava": Family(_llava),
    "llava_next": Family(_llava_next, sizes={"image_grid_pinpoints": PINPOINTS}),
    "llava_onevision": Family(_llava_onevision, sizes={"image_grid_pinpoints": PINPOINTS}),
    "qwen2_vl": Family(_qwen2_vl, QWEN, VISION, {**ROPE, "vision_config.hidden_size": 64}),
    "qwen2_5_vl": Family(_qwen2_5_vl, QWEN, VISION, {**ROPE, **WIDTH}),
    "qwen3_vl": Family(
        _qwen3_vl, QWEN, VISION, {"text_config.rope_parameters": MROPE | {"mrope_interleaved": True}, **WIDTH}
    ),
    "glm4v": Family(
        _glm4v,
        "<|begin_of_image|><|image|><|end_of_image|>",
        GLM,
        {
            "text_config.rope_parameters": MROPE | {"mrope_section": [2, 3, 3], "partial_rotary_factor": 0.5},
            **WIDTH,
        },
    ),
    "internvl": Family(_internvl, "<IMG_CONTEXT>", ("<IMG_CONTEXT>", "<video>", "", "<img>", "</img>")),
}


def tokenizer_of(family: Family) -> PreTrainedTokenizerFast:
    """A word is a token: w6, w7 and so on, and those of the family."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<s>", "</s>", "<unk>"] + [f"w{number}" for number in range(4, VOCABULARY)]
    for place, token in enumerate(family.tokens):
        words[IMAGE_TOKEN + place] = token or words[IMAGE_TOKEN + place]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = [token for token in family.tokens if token]
    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    more = {"extra_special_tokens": names | {"video_token": "<video>"}} if "<img>" in special else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=special,
        **more,
    )


def save(name: str, folder: Path) -> Path:
    """The family's tiny model, in float32, and its processor."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    family = FAMILIES[name]
    config = shrunk(transformers.CONFIG_MAPPING[name](), {**SIZES, **family.sizes})
    torch.manual_seed(0)
    model = getattr(transformers, str(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[name]))(config).eval()
    draw(model)
    with torch.no_grad():
        # a model that says "image" would make its own output look like one
        model.get_output_embeddings().weight[140:] = 0
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    if name.startswith("llava"):
        _as_published(folder / "model.safetensors")
    family.processor(tokenizer_of(family)).save_pretrained(folder)
    return folder


def _as_published(file: Path) -> None:
    """Weights by the names of published checkpoints, which vLLM reads; transformers writes newer ones."""
    from safetensors.torch import load_file, save_file

    old, new = "vision_tower.", "vision_tower.vision_model."
    weights = load_file(file)
    named = {name if new in name else name.replace(old, new): weight for name, weight in weights.items()}
    save_file(named, file, metadata={"format": "pt"})
