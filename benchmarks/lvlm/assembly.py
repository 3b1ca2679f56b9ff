"""The whole model, as transformers loads it: what was trained, from the repository, and the tower it was trained on.

python -m benchmarks.lvlm.assembly benchmarks/lvlm/model .models/dinov2 -o .models/lvlm
python -m benchmarks.lvlm.assembly benchmarks/lvlm/model .models/dinov2 -o carried/lvlm --half      to be carried

pipeline("image-text-to-text", model=".models/lvlm")
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path

import torch

from benchmarks.lvlm.export import FILE
from benchmarks.lvlm.tower import Tower
from demo import assets
from prunekernels.io.outputs import atomic_folder

KIND, TOWER = "lvlm model", "model.vision_tower."
# the digest of what was trained
TRAINED = "trained.sha256"
COPIED = ("processor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "README.md")


def assemble(model: Path, tower: Path, out: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write the model of the folders `model` (`export`) and `tower` (a DINOv2) into `out`; returns `out`.

    In float16 what was trained stays as it is, and the tower's numbers are rounded.

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
        whole.to(dtype).save_pretrained(made)
        (made / TRAINED).write_text(_digest(model), "utf-8")
        for name in COPIED:
            if (model / name).is_file():
                shutil.copyfile(model / name, made / name)
    return out


def assembled(model: Path, tower: Path | None, out: Path) -> Path:
    """`out` with the model, put together where it is not there or made of other numbers than `model` has, if any.

    `tower` is by default that of the demo.
    """
    known = out / TRAINED
    is_carried = known.is_file() and not (model / FILE).exists()
    if not is_carried and (not known.is_file() or known.read_text("utf-8") != _digest(model)):
        assemble(model, assets.dinov2() if tower is None else tower, out)
    return out


def _digest(model: Path) -> str:
    return hashlib.sha256((model / FILE).read_bytes()).hexdigest()


def main() -> None:
    """Assemble."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("tower", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--half", action="store_true", help="in float16, half as large")
    options = parser.parse_args()
    dtype = torch.float16 if options.half else torch.float32
    print(assemble(options.model, options.tower, options.output, dtype))


if __name__ == "__main__":
    main()
