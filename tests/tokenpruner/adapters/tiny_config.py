"""A tiny model of any architecture: its default config with every size made small, weights drawn anew.

One set of rules by attribute name, applied to the config and to the ones inside it; what a family needs beyond
that stands in its entry of `families.py`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch

VOCABULARY = 160
IMAGE_TOKEN = 150
Sizes = Mapping[str, object]

# 64 x 64 pixels in patches of 8: 8 x 8 patches, 4 x 4 where neighbours are merged
SIZES: dict[str, object] = {
    "hidden_size": 32,
    "d_model": 32,
    "embed_dim": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "ffn_dim": 48,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "d_ff": 48,
    "mlp_dim": 48,
    "num_hidden_layers": 2,
    "num_layers": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "depth": 2,
    "num_attention_heads": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "num_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "vocab_size": VOCABULARY,
    "image_size": 64,
    "patch_size": 8,
    "image_token_id": IMAGE_TOKEN,
    "image_token_index": IMAGE_TOKEN,
    "video_token_id": IMAGE_TOKEN + 1,
    "video_token_index": IMAGE_TOKEN + 1,
    "audio_token_id": IMAGE_TOKEN + 2,
    "audio_token_index": IMAGE_TOKEN + 2,
    "vision_start_token_id": IMAGE_TOKEN + 3,
    "vision_end_token_id": IMAGE_TOKEN + 4,
    "image_start_token_id": IMAGE_TOKEN + 3,
    "image_end_token_id": IMAGE_TOKEN + 4,
    "video_start_token_id": IMAGE_TOKEN + 5,
    "video_end_token_id": IMAGE_TOKEN + 6,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
    "out_hidden_size": 32,
    "projection_dim": 32,
    "projector_hidden_size": 32,
    "text_hidden_size": 32,
    "encoder_hidden_size": 32,
    "word_embed_proj_dim": 32,
    "output_dim": 32,
    "n_routed_experts": 4,
    "num_local_experts": 4,
    "num_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "max_position_embeddings": 512,
    "mm_tokens_per_image": 16,
    "deepstack_visual_indexes": [0, 1],
    "fullatt_block_indexes": [1],
    "global_attn_indexes": [1],
    "vision_feature_layer": -1,
    "num_position_embeddings": 64,
    "sliding_window": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": VOCABULARY,
    "position_embedding_size": 64,
    "num_mel_bins": 16,
    "downsample_hidden_size": 16,
    "output_channels": 32,
    "qformer_hidden_size": 32,
    "image_seq_length": 64,
    "index_n_heads": 2,
    "index_head_dim": 8,
    "index_topk": 64,
}


def shrunk(config: object, own: Sizes) -> object:
    """`config` made anew with small sizes; `own` overrides, with dotted names for the configs inside."""
    from transformers import PreTrainedConfig

    given = vars(config)
    sizes: dict[str, object] = {name: fit(value, given[name]) for name, value in SIZES.items() if name in given}
    sizes |= layers(given)
    sizes |= {name: value for name, value in own.items() if "." not in name}
    kinds = getattr(type(config), "sub_configs", {})
    for name in {*kinds, *(key for key, value in vars(config).items() if isinstance(value, PreTrainedConfig))}:
        inner = getattr(config, name, None)
        if inner is None and hasattr(kinds.get(name), "model_type") and kinds[name].model_type:
            inner = kinds[name]()
        if isinstance(inner, PreTrainedConfig):
            below = {key.removeprefix(f"{name}."): value for key, value in own.items() if key.startswith(f"{name}.")}
            sizes[name] = shrunk(inner, below)
    return type(config)(**copy.deepcopy(sizes))


def layers(given: Mapping[str, object]) -> dict[str, object]:
    """One layer of each kind where there are several, and at least two of them; lists by layer are cut to fit."""
    kinds, before = given.get("layer_types"), given.get("num_hidden_layers")
    if not isinstance(kinds, list) or not kinds:
        return {}
    each = list(dict.fromkeys(kinds))
    each = each if len(each) > 1 else each * 2
    found: dict[str, object] = {
        name: value[: len(each)]
        for name, value in given.items()
        if isinstance(value, list) and len(value) == before and not name.startswith("_")
    }
    mlps = given.get("mlp_layer_types")
    if isinstance(mlps, list) and mlps:
        distinct = list(dict.fromkeys(mlps))
        found["mlp_layer_types"] = [distinct[min(number, len(distinct) - 1)] for number in range(len(each))]
    return found | {"layer_types": each, "num_hidden_layers": len(each)}


def fit(value: object, given: object) -> object:
    """`value` in the form that the default has: None stays, and a list gets a list."""
    if given is None or value is None:
        return None
    return [value] * len(given) if isinstance(given, list | tuple) and not isinstance(value, list) else value


def draw(model: torch.nn.Module, seed: int = 0) -> None:
    """Weights large enough for a wrong position or mask to show in the logits."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            fan_in = parameter[0].numel()
            parameter.data = torch.randn(parameter.shape, generator=generator) / math.sqrt(fan_in)
