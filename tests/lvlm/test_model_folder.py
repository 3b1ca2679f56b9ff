"""What was trained, written, put to its tower and read by plain transformers: the model that was trained, in words."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor, LlavaForConditionalGeneration, pipeline

from benchmarks.lvlm.assembly import assemble, assembled
from benchmarks.lvlm.export import FILE, card, export
from benchmarks.lvlm.features import SCALE, Standard
from benchmarks.lvlm.learner import new_learner
from benchmarks.lvlm.packing import Example, Seen, pack
from benchmarks.lvlm.questions import Question
from benchmarks.lvlm.recipe import Recipe
from benchmarks.lvlm.state import Progress, save_state
from benchmarks.lvlm.tower import Tower
from benchmarks.lvlm.vocabulary import TOKENS

ASKED = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is in the top left?"}]}]
ANSWER = Question("region", "what is in the top left ?", "cat")


@torch.no_grad()
def test_plain_transformers_read_what_was_trained(recipe: Recipe, standard: Standard) -> None:
    learner = new_learner(recipe).eval()
    for weight in learner.parameters():
        # as the file holds them
        weight.copy_((weight * (8 if weight.ndim > 1 else 1)).half())
    export(learner, recipe, standard, "card")
    out = assemble(recipe.model, recipe.tower, recipe.run.parent / "whole")
    model, processor = LlavaForConditionalGeneration.from_pretrained(out).eval(), AutoProcessor.from_pretrained(out)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8))
    prompt = processor.apply_chat_template(ASKED, add_generation_prompt=True)
    inputs = processor(images=picture, text=prompt, return_tensors="pt")
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    hidden = Tower.load(recipe.tower, recipe.blocks, torch.float32)(pixels)[0]
    features = (hidden - standard.mean) / standard.deviation * SCALE
    example = Example(features, torch.zeros(256, 4, dtype=torch.uint8), [ANSWER])
    batch = pack([example], [Seen(torch.arange(256))])
    wanted = learner(batch).logits[0]
    assert inputs["input_ids"][0, -8:].tolist() == batch.text[0, 1:9].tolist()
    assert wanted.std() > 0.3
    # the folded layer is rounded once more
    torch.testing.assert_close(model(**inputs).logits[0, -1], wanted, rtol=1e-2, atol=2e-2)
    files = {path.name for path in recipe.model.iterdir()}
    assert {"README.md", "config.json", "generation_config.json", FILE, "tokenizer.json"} <= files
    assert not any("vision" in name or "lm_head" in name for name in load_file(recipe.model / FILE))
    assert str(recipe.tower) not in (recipe.model / "config.json").read_text("utf-8")
    ask = pipeline("image-text-to-text", model=str(out))
    chat = [{"role": "user", "content": [{"type": "image", "image": picture}, ASKED[0]["content"][1]]}]
    told = ask(text=chat, return_full_text=False)[0]["generated_text"]
    assert set(told.split()) <= set(TOKENS)


def test_other_weights_are_refused(recipe: Recipe, standard: Standard) -> None:
    export(new_learner(recipe), recipe, standard, "card")
    weights = load_file(recipe.model / FILE)
    weights.pop("model.language_model.norm.weight")
    save_file(weights, recipe.model / FILE)
    with pytest.raises(ValueError, match="language_model.norm"):
        assemble(recipe.model, recipe.tower, recipe.run.parent / "whole")


def test_the_card_says_how_long_and_how_well(recipe: Recipe) -> None:
    save_state(recipe.run / "state", new_learner(recipe), (), Progress(1234, 5400.0, 2000), "own")
    row = {"pictures": "main", "question": "all", "asked": 50, "right": 0.914, "blind": 0.143}
    recipe.data.joinpath("lvlm_accuracy.json").write_text(json.dumps([{"rows": []}, {"rows": [row]}]), "utf-8")
    text = card(recipe.run, recipe.data)
    assert "| main | all | 50 | 91.4% | 14.3% |" in text
    assert "1234 steps, 1.5 hours" in text
    assert not {"TABLE", "STEPS", "HOURS"} & {*text.split()}


def test_what_was_trained_anew_is_put_together_anew(recipe: Recipe, standard: Standard) -> None:
    export(new_learner(recipe), recipe, standard, "card")
    out = recipe.run.parent / "whole"
    assert assembled(recipe.model, recipe.tower, out) == out
    made = (out / FILE).stat().st_mtime_ns
    assembled(recipe.model, recipe.tower, out)
    assert (out / FILE).stat().st_mtime_ns == made
    os.utime(recipe.model / FILE, ns=(made + 10**9, made + 10**9))
    assembled(recipe.model, recipe.tower, out)
    assert (out / FILE).stat().st_mtime_ns == made
    export(new_learner(dataclasses.replace(recipe, seed=4)), recipe, standard, "card")
    assembled(recipe.model, recipe.tower, out)
    assert (out / FILE).stat().st_mtime_ns != made


def test_a_model_to_be_carried_is_half_as_large_and_not_made_anew(recipe: Recipe, standard: Standard) -> None:
    export(new_learner(recipe), recipe, standard, "card")
    folder = recipe.run.parent
    whole, half = assemble(recipe.model, recipe.tower, folder / "a"), folder / "b"
    assemble(recipe.model, recipe.tower, half, torch.float16)
    wanted, found = (load_file(own / FILE) for own in (whole, half))
    assert {value.dtype for value in found.values()} == {torch.float16}
    for name, value in wanted.items():
        assert torch.equal(found[name], value.half())
        # what was trained is kept in 16 bits anyway
        assert name.startswith("vision_tower.") or torch.equal(found[name].float(), value)
    assert assembled(recipe.model, folder / "no tower here", half) == half
    (recipe.model / FILE).unlink()
    assert assembled(recipe.model, folder / "no tower here", half) == half
