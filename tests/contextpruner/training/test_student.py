"""A student is its base with fewer layers and pieces; what stays computes what it did."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, processors
from transformers import AutoModel

from contextpruner.models.joint_encoder import layout_of
from contextpruner.training.examples.build import build_examples
from contextpruner.training.recipe import Recipe, read_recipe
from contextpruner.training.student.encoder import load_student, make_student
from contextpruner.training.student.vocabulary import chosen_pieces, cut_tokenizer
from prunekernels.io.checkpoint import Checkpoint
from tests.contextpruner import tiny_checkpoints as tiny
from tests.contextpruner.training.question_sets import write_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    made = read_recipe(write_recipe(tmp_path_factory.mktemp("student")))
    build_examples(made)
    return made


def student_of(recipe: Recipe, **settings: object) -> Path:
    changed = dataclasses.replace(recipe, student=dataclasses.replace(recipe.student, **settings))  # type: ignore[arg-type]
    return make_student(changed, overwrite=True)


def tokenizer_in(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.mark.parametrize("layers", [(), (0, 2)])
def test_what_stays_computes_what_it_did(recipe: Recipe, layers: tuple[int, ...]) -> None:
    folder = student_of(recipe, layers=layers, vocabulary=90)
    assert layout_of(Checkpoint(folder)) == "open_provence"
    base = AutoModel.from_pretrained(recipe.student.base, add_pooling_layer=False).eval()
    if layers:
        base.encoder.layer = torch.nn.ModuleList(base.encoder.layer[layer] for layer in layers)
    student = load_student(folder)
    encoder = student.ranker.get_submodule(student.encoder)
    text = "It was ana who made the dome."
    coded = [tokenizer_in(path).encode(text) for path in (Path(recipe.student.base), folder)]
    # all of these pieces are in use, and so they stay; only their numbers are others
    assert coded[0].tokens == coded[1].tokens
    assert "▁designed" not in coded[0].tokens
    assert coded[0].ids != coded[1].ids
    with torch.inference_mode():
        one, two = (
            model(input_ids=torch.tensor([own.ids])).last_hidden_state
            for model, own in zip((base, encoder), coded, strict=True)
        )
    torch.testing.assert_close(one, two)


def test_the_vocabulary_has_the_size_and_knows_all_characters(recipe: Recipe) -> None:
    folder = student_of(recipe, vocabulary=60)
    tokenizer = tokenizer_in(folder)
    size = json.loads((folder / "config.json").read_text())["base_model_config"]["vocab_size"]
    assert tokenizer.get_vocab_size() == 60 == size
    tokens = tokenizer.encode("It was ana who made the dome? Who made the boat?").tokens
    assert "<unk>" not in tokens
    assert (tokens[0], tokens[-1]) == ("<s>", "</s>")


def test_the_whole_vocabulary_can_stay(recipe: Recipe) -> None:
    folder = student_of(recipe, vocabulary=0)
    assert tokenizer_in(folder).get_vocab() == tokenizer_in(Path(recipe.student.base)).get_vocab()


def test_pieces_are_chosen_by_language_then_by_the_tokenizer() -> None:
    pieces = [("<unk>", 0.0), ("▁the", -1.0), ("▁dome", -9.0), ("▁купол", -8.0), ("▁boat", -2.0), ("中国", -1.5)]
    pieces += [(letter, -20.0) for letter in "▁themдкупол中"]
    counts = {"en": np.zeros(len(pieces), np.int64), "ru": np.zeros(len(pieces), np.int64)}
    counts["en"][[1, 2]] = (1000, 10)
    counts["ru"][[3, 6]] = (3, 1)
    kept = [pieces[place][0] for place in chosen_pieces(pieces, {0}, counts, 14)]
    # letters inside of longer pieces count as seen; the rare Russian word comes before the rarer share of English
    assert "<unk>" in kept
    assert "▁купол" in kept
    assert "▁the" in kept
    assert {"t", "h", "e", "м", "д"} & set(kept) == {"t", "h", "e"}
    # a script that no text has is not filled up with
    assert "中国" not in kept
    assert "中" not in kept


def test_special_tokens_move_with_their_pieces(tmp_path: Path) -> None:
    made = Tokenizer(models.Unigram([("a", -1.0), ("b", -2.0), ("<unk>", 0.0), ("</s>", 0.0), ("<s>", 0.0)], unk_id=2))
    made.add_special_tokens(["<s>", "</s>", "<unk>"])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 4), ("</s>", 3)]
    )
    made.save(str(tmp_path / "whole.json"))
    cut_tokenizer(tmp_path / "whole.json", np.array([1, 2, 3, 4]), tmp_path / "cut.json")
    cut = Tokenizer.from_file(str(tmp_path / "cut.json"))
    assert cut.encode("bb").ids == [3, 0, 0, 2]
    assert cut.encode("b").tokens == ["<s>", "b", "</s>"]
    # the piece that is gone is unknown, and nothing else's number
    assert cut.encode("a").ids == [3, 1, 2]
    assert cut.token_to_id("<s>") == 3


def test_layers_that_are_not_there_are_refused(recipe: Recipe) -> None:
    for layers in ((0, 3), (1, 0), (0, 0)):
        with pytest.raises(ValueError, match="layers want ascending numbers from 0 to 2"):
            student_of(recipe, layers=layers)


def test_a_pruner_is_learnt_on_from_and_told_of_matches(recipe: Recipe, tmp_path: Path) -> None:
    first = shutil.copytree(student_of(recipe), tmp_path / "first")
    ids = torch.tensor([[0, 9, 7, 2, 9, 8, 2], [0, 5, 2, 6, 2, 1, 1]])
    mask = (ids != 1).long()
    types = torch.tensor([[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0]])
    told = load_student(student_of(recipe, base=str(first), layers=(), vocabulary=0, matched_token_types=True))
    with torch.inference_mode():
        want, got = (model.logits(ids, mask, types) for model in (load_student(first), told))
    # heads and all; the types of what is shared begin as the others
    torch.testing.assert_close(got, want)
    held = told.ranker.get_submodule(told.encoder).embeddings.token_type_embeddings.weight
    with torch.no_grad():
        held[3] += torch.arange(held.shape[1])
    with torch.inference_mode():
        changed = told.logits(ids, mask, types)[0]
    assert (changed - want[0]).abs().amax((1, 2)).min() > 1e-4
    # one of two texts alone shares nothing
    alone = ids[:, :2], mask[:, :2], types[:, :2]
    with torch.inference_mode():
        torch.testing.assert_close(told.logits(*alone), load_student(first).logits(*alone))


def test_an_encoder_without_two_token_types_is_told_of_nothing(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="want an encoder with two token types"):
        student_of(recipe, base=str(tiny.open_provence(tmp_path)), layers=(), vocabulary=0, matched_token_types=True)
