"""The image-text-to-text families known by name: which are run, which are refused, which cannot be built, and why.

What stands here is held against the models: a family that is run has to run, a refused one has to be refused, one
that cannot be built has to fail, and a check that a family is excused from has to fail without pruning too.
"""

from __future__ import annotations

# families that must never be skipped
NAMED = (
    *("aya_vision", "gemma3", "glm4v", "idefics3", "internvl", "llava", "llava_next", "llava_onevision", "mistral3"),
    *("ovis2", "paligemma", "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "smolvlm"),
)

FED = (
    *NAMED,
    *("aria", "cohere2_vision", "cohere_compass", "cosmos3_edge", "cosmos3_omni", "deepseek_vl", "deepseek_vl_hybrid"),
    *("ernie4_5_vl_moe", "exaone4_5", "fuyu", "gemma4", "gemma4_unified", "glm46v", "glm4v_moe", "glm5_next"),
    *("glm_ocr", "glmga", "got_ocr2", "granite_docling", "hunyuan_vl", "hy_v4_vl", "lfm2_vl", "nemotron_h_omni"),
    *("hyperclovax_vision_v2", "idefics2", "inkling2", "inkling2_loop", "janus", "kimi_k25", "lfm3_vl", "lighton_ocr"),
    *("llava_next_video", "minicpm_ocr", "minicpmv4_6", "minicpmv4_7", "minimax_m3_vl", "mistral_large4"),
    *(
        "muse_glimmer",
        "paddleocr_vl",
        "pp_chart2table",
        "qianfan_ocr",
        "qwen2_5_omni_thinker",
        "qwen3_5",
        "qwen3_5_moe",
    ),
    *("qwen3_omni_moe_thinker", "qwen3_vl_moe", "shieldgemma2", "step3p7", "video_llama_3", "video_llava", "vipllava"),
)

CROSS = "images enter by cross-attention: the decoder's sequence has no visual tokens"
SPOKEN = "an encoder-decoder: the decoder's sequence has no visual tokens"
BY_HAND = "puts image features among the text in its forward pass, where nothing tells of it"
REFUSED = {
    "blip": CROSS,
    "blip-2": "its generate() goes past its forward pass",
    "chameleon": "turns images into tokens of its vocabulary",
    "evolla": CROSS,
    "florence2": SPOKEN,
    "git": BY_HAND,
    "idefics": CROSS,
    "instructblip": "its generate() goes past its forward pass",
    "instructblipvideo": BY_HAND,
    "kosmos-2": BY_HAND,
    "kosmos-2.5": BY_HAND,
    "mistral4": "the entry is a text model",
    "mllama": CROSS,
    "pix2struct": SPOKEN,
    "pp_formulanet": SPOKEN,
    "t5gemma2": SPOKEN,
    "udop": SPOKEN,
    "vision-encoder-decoder": SPOKEN,
}

TIMM = "its vision tower needs timm"
SMALL = "no tiny model of it yet: "
UNBUILT = {
    "apertus1p5": "turns images into tokens of its vocabulary, whose ranges do not shrink with it",
    "deepseek_ocr2": f"{SMALL}its lists by layer do not shrink with its layers",
    "diffusion_gemma": f"{SMALL}its default config lacks the number of experts",
    "dots3_note": f"{SMALL}its settings by layer do not shrink with its layers",
    "fast_vlm": TIMM,
    "gemma3n": TIMM,
    "granite4_vision": "image tokens enter its decoder empty: their features are added behind its layers",
    "llama4": "transformers 5.24.0 raises in its own forward pass: its decoder's output has no image_outputs",
    "molmo2": f"{SMALL}its pictures come with the patches that each token is pooled from",
    "muse_spark": f"{SMALL}its vision tower has sizes by layer",
    "perception_lm": TIMM,
    "pi0": "a model of actions: it has no get_image_features of its own",
    "qwen4_exp": f"{SMALL}its default config lacks the sizes of its indexer",
    "unlimited_ocr": f"{SMALL}its two vision towers shrink to different widths",
}
# never tried: they fill the memory of a small machine
LARGE = {
    "emu3": "its default config stays large: no tiny model of it",
    "inkling_mm_model": "its default config stays large: no tiny model of it",
}

# what does not hold without pruning either
ROWS, TURN, ATTENTION = "a padded batch equals its rows", "a second turn equals replay", "sdpa and eager agree"
CACHE, BEAMS = "decoding with cache equals recomputation", "beams with a cache equal beams without"
DRAFTS = "drafted tokens change nothing behind embeddings"
MIXED = "its vision tower lets the images of a batch see each other"
REPEATED = "generate() does not repeat its images with its beams"
ODD: dict[str, dict[str, str]] = {
    "fuyu": {BEAMS: REPEATED},
    "gemma4": {ATTENTION: "its audio tower has no sdpa"},
    "hunyuan_vl": {ROWS: "it numbers the images of a whole batch, and the number enters their positions"},
    "hy_v4_vl": {ATTENTION: "it has eager attention only"},
    "inkling2": {ATTENTION: "it has eager attention only"},
    "inkling2_loop": {ATTENTION: "it has eager attention only"},
    "minicpmv4_6": {ROWS: MIXED},
    "minicpmv4_7": {ROWS: MIXED},
    "paligemma": {TURN: "its prompt is seen both ways: replayed, the first turn sees the second"},
}


def reason(name: str) -> str:
    """Why a family is not run; empty where it is, or is not known."""
    return {**REFUSED, **UNBUILT, **LARGE}.get(name, "")
