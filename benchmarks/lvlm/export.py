"""What was trained, as a folder for the repository: weights in fp16 without the tower, configuration, processor, card.

    python -m benchmarks.lvlm.export benchmarks/lvlm/default.yaml

The projector of the folder reads the tower's own numbers: mean and deviation, by which training standardized them, are
folded into its first layer. `assembly` puts the tower to it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.harness import RESULTS
from benchmarks.lvlm.features import Standard
from benchmarks.lvlm.learner import Learner, config, new_learner, vision_config
from benchmarks.lvlm.processing import processor
from benchmarks.lvlm.recipe import Recipe
from benchmarks.lvlm.state import load_learner
from benchmarks.lvlm.vocabulary import END, IDS, PAD
from prunekernels.io.json_files import Fields
from prunekernels.io.outputs import atomic_folder

KIND, FILE = "lvlm trained part", "model.safetensors"
PROJECTOR, DECODER = "model.multi_modal_projector", "model.language_model"
CARD = Path(__file__).parent / "card.md"


def main() -> None:
    """Write the folder of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("recipe", type=Path)
    options = parser.parse_args()
    recipe = Recipe.read(options.recipe)
    learner = new_learner(recipe)
    load_learner(recipe.run / "state", learner)
    export(learner, recipe, Standard.load(recipe.data), card(recipe.run, RESULTS))


def export(learner: Learner, recipe: Recipe, standard: Standard, text: str) -> None:
    """Write `learner` into the recipe's folder of the model, with a card of that text."""
    from transformers import GenerationConfig

    with atomic_folder(recipe.model, KIND, overwrite=True) as made:
        save_file(trained(learner, standard), made / FILE, {"format": "pt"})
        own = config(recipe, vision_config(recipe.tower, recipe.blocks))
        own.architectures = ["LlavaForConditionalGeneration"]
        own.save_pretrained(made)
        processor().save_pretrained(made)
        answers = GenerationConfig(max_new_tokens=8, do_sample=False, eos_token_id=IDS[END], pad_token_id=IDS[PAD])
        answers.save_pretrained(made)
        (made / "README.md").write_text(text, "utf-8")


def trained(learner: Learner, standard: Standard) -> dict[str, torch.Tensor]:
    """fp16, by the names of LLaVA's state."""
    with torch.no_grad():
        projector = {name: value.clone() for name, value in learner.projector.state_dict().items()}
        weight = projector["linear_1.weight"] / standard.deviation
        projector["linear_1.bias"] -= weight @ standard.mean
        projector["linear_1.weight"] = weight
        found = {f"{PROJECTOR}.{name}": value for name, value in projector.items()}
        found |= {f"{DECODER}.{name}": value for name, value in learner.decoder.state_dict().items()}
        return {name: value.half().contiguous() for name, value in found.items()}


def card(run: Path, results: Path) -> str:
    """The model's card, with its steps and the last accuracies that were recorded."""
    progress = Fields.read(run / "state" / "progress.json")
    recorded = json.loads((results / "lvlm_accuracy.json").read_text("utf-8"))[-1]["rows"]
    head = "| pictures | question | asked | right | blind |\n|---|---|---|---|---|\n"
    rows = [
        f"| {row['pictures']} | {row['question']} | {row['asked']} | {row['right']:.1%} | {row['blind']:.1%} |"
        for row in recorded
    ]
    text = CARD.read_text("utf-8").replace("TABLE", head + "\n".join(rows))
    hours = progress.number("seconds", 0) / 3600
    return text.replace("STEPS", str(progress.integer("steps", 0))).replace("HOURS", f"{hours:.1f}")


if __name__ == "__main__":
    main()
