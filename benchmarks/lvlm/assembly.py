"""The whole model, as transformers loads it: what was trained, from the repository, and the tower it was trained on.

python -m benchmarks.lvlm.assembly benchmarks/lvlm/model .models/dinov2 -o .models/lvlm

pipeline("image-text-to-text", model=".models/lvlm")
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from benchmarks.lvlm.export import FILE
from benchmarks.lvlm.tower import Tower
from prunekernels.io.outputs import atomic_folder

KIND, TOWER = "lvlm model", "model.vision_tower."
COPIED = ("processor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "README.md")


def assemble(model: Path, tower: Path, out: Path) -> Path:
    """Write the model of the folders `model` (`export`) and `tower` (a DINOv2) into `out`, float32; returns `out`.

    Raises ValueError where `model` holds other weights than its configuration wants.
    """
    from safetensors.torch import load_file
    from transformers import GenerationConfig, LlavaConfig, LlavaForConditionalGeneration

    settings = LlavaConfig.from_pretrained(model)
    whole = LlavaForConditionalGeneration(settings)
    found = whole.load_state_dict(load_file(model / FILE), strict=False)
    missing = [name for name in found.missing_keys if not name.startswith((TOWER, "lm_head."))]
    if missing or found.unexpected_keys:
        raise ValueError(f"{model}: want its weights alone, got none of {missing} and {found.unexpected_keys} beside")
    blocks = settings.vision_config.num_hidden_layers
    whole.model.vision_tower.load_state_dict(Tower.load(tower, blocks, torch.float32).model.state_dict())
    whole.generation_config = GenerationConfig.from_pretrained(model)
    with atomic_folder(out, KIND, overwrite=True, inputs=[model, tower]) as made:
        whole.save_pretrained(made)
        for name in COPIED:
            if (model / name).is_file():
                shutil.copyfile(model / name, made / name)
    return out


def assembled(model: Path, tower: Path, out: Path) -> Path:
    """`out` with the model, put together where it is not there or older than what was trained."""
    if not (out / FILE).exists() or (out / FILE).stat().st_mtime < (model / FILE).stat().st_mtime:
        assemble(model, tower, out)
    return out


def main() -> None:
    """Assemble."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("tower", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    print(assemble(options.model, options.tower, options.output))


if __name__ == "__main__":
    main()
