"""Every image-text-to-text architecture of the installed transformers, and what its tiny model needs of its own."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from tests.tokenpruner.feeding import Feed, feed_of
from tests.tokenpruner.shrinking import draw, shrunk

MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
HALF_MROPE = MROPE | {"mrope_section": [2, 1, 1], "partial_rotary_factor": 0.5}
PINPOINTS = {"image_grid_pinpoints": [[128, 64], [64, 128]]}
TEXT_ROPE = {"text_config.rope_parameters": MROPE}


@dataclass(frozen=True)
class Own:
    """What one family needs beyond the rules: `sizes` of its config, the `layout` of its pixels, a reason to skip."""

    sizes: Mapping[str, object] = field(default_factory=dict)
    layout: str | None = None
    skip: str = ""


OWN: dict[str, Own] = {
    "aria": Own({"projector_patch_to_query_dict": {64: 16}}),
    "cosmos3_edge": Own(TEXT_ROPE),
    "cosmos3_omni": Own(TEXT_ROPE),
    "glm46v": Own(TEXT_ROPE),
    "glm4v": Own(TEXT_ROPE),
    "glm4v_moe": Own({"text_config.rope_parameters": HALF_MROPE}),
    "glm_ocr": Own(TEXT_ROPE),
    "glmga": Own(TEXT_ROPE),
    "llava_next": Own(PINPOINTS),
    "llava_next_video": Own(PINPOINTS),
    "llava_onevision": Own(PINPOINTS),
    "qwen2_5_vl": Own(TEXT_ROPE),
    "qwen2_vl": Own(TEXT_ROPE),
    "qwen3_5": Own({"text_config.rope_parameters": HALF_MROPE}),
    "qwen3_5_moe": Own({"text_config.rope_parameters": HALF_MROPE}),
    "qwen3_vl": Own(TEXT_ROPE),
    "qwen3_vl_moe": Own(TEXT_ROPE),
}

# the families that the heavier checks run on
NAMED = [
    *("aya_vision", "gemma3", "glm4v", "idefics3", "internvl", "llava", "llava_next", "llava_onevision", "mistral3"),
    *("ovis2", "paligemma", "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "smolvlm"),
]


def names() -> list[str]:
    """Every image-text-to-text architecture, by its name in transformers."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return sorted(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


def class_name(name: str) -> str:
    """The class of the family's model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return str(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[name])


def build(name: str, seed: int = 0) -> nn.Module:
    """A tiny model of the family, on the CPU, in float32; raises whatever its classes raise."""
    import transformers

    own = OWN.get(name, Own())
    config = shrunk(transformers.CONFIG_MAPPING[name](), own.sizes)
    model = getattr(transformers, class_name(name))(config).eval()
    draw(model, seed)
    generation = getattr(model, "generation_config", None)
    if generation is not None:
        generation.pad_token_id, generation.eos_token_id = 0, None
        generation.do_sample = False
        # a model that says "image" would make its own output look like one
        generation.suppress_tokens = [token for token in range(140, 160)]
    return model


@functools.cache
def feed(name: str) -> Feed | str:
    """The family's tiny model and how it is fed, or why it cannot be had."""
    own = OWN.get(name, Own())
    if own.skip:
        return own.skip
    try:
        found = feed_of(build(name), own.layout)
        with torch.no_grad():
            found.model(**found.encode([[2, "I", 3]]))
    # whatever goes wrong in somebody's default config is the reason of the skip
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return found
