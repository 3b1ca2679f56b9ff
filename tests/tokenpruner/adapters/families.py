"""Every image-text-to-text architecture of the installed transformers, and what its tiny model needs of its own."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from tests.tokenpruner.adapters import known_families
from tests.tokenpruner.adapters.family_inputs import Feed, feed_of
from tests.tokenpruner.adapters.tiny_config import IMAGE_TOKEN, VOCABULARY, draw, shrunk
from tokenpruner.models import adapter

MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
HALF_MROPE = MROPE | {"mrope_section": [2, 1, 1], "partial_rotary_factor": 0.5}
PINPOINTS = {"image_grid_pinpoints": [[128, 64], [64, 128]]}
TEXT_ROPE = {"text_config.rope_parameters": MROPE}


@dataclass(frozen=True)
class Own:
    """What one family needs beyond the rules: `sizes` of its config, the `layout` of its pixels, other weights."""

    sizes: Mapping[str, object] = field(default_factory=dict)
    layout: str | None = None
    seed: int = 0


BY_KIND = {kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in ("full_attention", "sliding_attention")}

OWN: dict[str, Own] = {
    "aria": Own({"projector_patch_to_query_dict": {64: 16}}),
    "blip-2": Own({"image_token_index": IMAGE_TOKEN}),
    "chameleon": Own({"vocabulary_map": {"<image>": IMAGE_TOKEN}}),
    "cohere_compass": Own({"text_config.rope_parameters": BY_KIND}),
    "cosmos3_edge": Own(TEXT_ROPE),
    "cosmos3_omni": Own(TEXT_ROPE),
    "deepseek_vl_hybrid": Own({"high_res_vision_config.output_channels": 4}, layout="twice"),
    "ernie4_5_vl_moe": Own(
        {"text_config.rope_parameters": MROPE | {"mrope_section": [3, 3, 2]}, "text_config.moe_k": 2}
    ),
    "fuyu": Own(layout="drawn"),
    "gemma4": Own({"vision_config.pooling_kernel_size": 2}, layout="placed"),
    "glm46v": Own(TEXT_ROPE),
    "glm4v": Own(TEXT_ROPE),
    "glm4v_moe": Own({"text_config.rope_parameters": HALF_MROPE}),
    "gemma4_unified": Own(
        {"vision_config.pooling_kernel_size": 1, "vision_config.mm_embed_dim": 32}
        | {"vision_config.output_proj_dims": 32},
        layout="placed",
    ),
    "glm5_next": Own(
        {"text_config.num_key_value_heads": 2, "text_config.qk_rope_head_dim": 0}
        | {"text_config.linear_head_dim": 8, "text_config.linear_num_heads": 2}
    ),
    "glm_ocr": Own(TEXT_ROPE),
    "glmga": Own(TEXT_ROPE),
    "granite_docling": Own(layout="tiled"),
    "hunyuan_vl": Own(
        {"text_config.head_dim": 16, "text_config.rope_parameters": MROPE | {"mrope_section": [2, 2, 2, 2]}}
    ),
    "hy_v4_vl": Own({"text_config.rope_parameters": MROPE | {"mrope_section": [2, 1, 1]}}),
    "inkling2": Own({"text_config.unpadded_vocab_size": VOCABULARY}, layout="blocks"),
    "inkling2_loop": Own({"text_config.unpadded_vocab_size": VOCABULARY}, layout="blocks"),
    "instructblip": Own({"image_token_index": IMAGE_TOKEN}, layout="asked"),
    "janus": Own({"vq_config.base_channels": 32, "vq_config.channel_multiplier": [1, 1]}),
    "kimi_k25": Own(
        {"projection_hidden_size": 32, "text_config.num_key_value_heads": 2, "text_config.head_dim": 8},
        layout="squares",
    ),
    "lfm2_vl": Own(layout="navit"),
    "llama4": Own(
        {"vision_config.vision_output_dim": 32, "vision_config.projector_input_dim": 32}
        | {"vision_config.projector_output_dim": 32, "vision_config.intermediate_size": 128}
    ),
    "llava_next": Own(PINPOINTS),
    "llava_next_video": Own(PINPOINTS),
    "llava_onevision": Own(PINPOINTS),
    "minicpm_ocr": Own({"image_token_id": IMAGE_TOKEN}, layout="strip"),
    "minicpmv4_6": Own({"image_token_id": IMAGE_TOKEN}, layout="strip"),
    "minicpmv4_7": Own({"image_token_id": IMAGE_TOKEN}, layout="strip"),
    "mistral_large4": Own({"text_config.num_key_value_heads": 2}),
    "muse_glimmer": Own({"out_hidden_size": 128}, layout="pairs"),
    "nemotron_h_omni": Own(
        {"vision_config.video_temporal_patch_size": 2, "image_token_id": IMAGE_TOKEN, "vision_hidden_size": 32}
        | {
            "text_config.layers_block_type": ["mamba", "attention", "moe"],
            "text_config.mamba_num_heads": 4,
            "text_config.mamba_head_dim": 8,
            "text_config.ssm_state_size": 8,
            "text_config.n_groups": 1,
            "text_config.moe_shared_expert_intermediate_size": 16,
        },
        layout="areas",
        # with others, step by step and all at once differ by 5e-4 on the same tokens, pruned or not
        seed=1,
    ),
    "paddleocr_vl": Own(TEXT_ROPE, layout="squares"),
    "qwen2_5_omni_thinker": Own(TEXT_ROPE | {"vision_start_token_id": IMAGE_TOKEN + 3}),
    "qwen2_5_vl": Own(TEXT_ROPE),
    "qwen2_vl": Own(TEXT_ROPE),
    "qwen3_5": Own({"text_config.rope_parameters": HALF_MROPE}),
    "qwen3_5_moe": Own({"text_config.rope_parameters": HALF_MROPE}),
    "qwen3_omni_moe_thinker": Own(TEXT_ROPE | {"vision_start_token_id": IMAGE_TOKEN + 3}),
    "qwen3_vl": Own(TEXT_ROPE),
    "qwen3_vl_moe": Own(TEXT_ROPE),
    "step3p7": Own({"text_config.sliding_window": 8}),
    "video_llama_3": Own(layout="merged"),
}


def names() -> list[str]:
    """Every image-text-to-text architecture, by its name in transformers."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return sorted(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


def params(some: Sequence[str] | None = None) -> list[object]:
    """Families as test parameters, by default all; the less known ones are marked, for the newest transformers only."""
    mark = pytest.mark.newest
    return [name if name in known_families.NAMED else pytest.param(name, marks=mark) for name in some or names()]


def class_name(name: str) -> str:
    """The class of the family's model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return str(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[name])


def build(name: str, seed: int = 0) -> nn.Module:
    """A tiny model of the family, on the CPU, in float32; raises whatever its classes raise."""
    import transformers

    own = OWN.get(name, Own())
    seed += own.seed
    config = shrunk(transformers.CONFIG_MAPPING[name](), own.sizes)
    # what is not drawn below is drawn by the model itself
    torch.manual_seed(seed)
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
    """The family's tiny model and how it is fed, or why it cannot be had; a known family's error is raised."""
    reason = known_families.reason(name)
    if reason:
        return reason
    try:
        return fresh(name)
    # what goes wrong in a default config that nobody here has seen is the reason of the skip
    except Exception as error:
        if name in known_families.FED:
            raise
        return f"not known yet: {type(error).__name__}: {' '.join(str(error).split())[:160]}"


def fresh(name: str) -> Feed:
    """The family's tiny model, built and fed once; raises whatever goes wrong."""
    model = build(name)
    adapter.find(model)
    found = feed_of(model, OWN.get(name, Own()).layout)
    with torch.no_grad():
        found.model(**found.encode([[2, "I", 3]]))
    return found
