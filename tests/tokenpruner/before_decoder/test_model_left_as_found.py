"""The model is left exactly as it was found, and a pass that fails leaves nothing for the next."""

from __future__ import annotations

import dataclasses
import functools
import gc
import weakref

import pytest
import torch

from tokenpruner import Context, Method, prepare, prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.random import Random
from tokenpruner.methods.stride import Stride

GREEDY = {"do_sample": False, "max_new_tokens": 5}


def test_the_model_is_left_as_found(watched):
    model, inputs, check = watched
    with prune(model, DivPrune(keep_ratio=0.25)):
        assert "generate" in vars(model)
        model.generate(**inputs, **GREEDY)
    check()
    prepare(model, DivPrune(keep_ratio=0.25), **inputs)
    check()


def test_the_model_is_left_as_found_after_an_exception(watched):
    model, inputs, check = watched

    def fail():
        with prune(model, DivPrune(keep_ratio=0.25)):
            model.generate(**inputs, **GREEDY)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    check()


@dataclasses.dataclass(frozen=True)
class Broken(Method):
    """Fails while it chooses."""

    def keep(self, context: Context, n: int) -> torch.Tensor:
        raise RuntimeError("broken method")


@pytest.mark.parametrize("where", ["method", "layer", "vision"])
def test_an_exception_inside_a_pass(watched, where):
    """The next pass inside the same `with` is right, too."""
    model, inputs, check = watched
    method = Broken(keep_ratio=0.25) if where == "method" else Stride(keep_ratio=0.25)
    target = {"layer": model.model.language_model.layers[1], "vision": model.model.vision_tower}.get(where, model)

    def fail(*_):
        raise RuntimeError("broken method")

    with prune(model, method) as report:
        handle = target.register_forward_pre_hook(fail) if where != "method" else None
        for _ in range(2):
            with pytest.raises(RuntimeError, match="broken method"):
                model(**inputs)
        assert not report.prefills
        if handle is not None:
            handle.remove()
            got = model(**inputs).logits
            assert torch.equal(got, model(**inputs).logits)
            assert got.shape[1] == 9
        text = {name: inputs[name][1:, -4:] for name in ("input_ids", "attention_mask")}
        assert model(**text).logits.shape[1] == 4
    check()


def test_a_pass_that_fails_leaves_nothing_for_the_next(model, prompt):
    """The first stops at the door of the backbone, the second in the vision tower, with labels."""
    inputs, text = prompt([[2, "I", 3]]), prompt([[21]])
    backbone = model.model.language_model

    def fail(*_):
        raise RuntimeError("on purpose")

    handle = backbone.register_forward_pre_hook(fail)
    with prune(model, Stride(keep_ratio=0.25)):
        with pytest.raises(RuntimeError, match="on purpose"):
            model(**inputs)
        handle.remove()
        assert model(**text).logits.shape[1] == 21
        handle = model.model.vision_tower.register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="on purpose"):
            model(**inputs, labels=inputs["input_ids"])
        handle.remove()
        assert model(**inputs).logits.shape[1] == 9


def test_the_backbone_alone_is_not_pruned(model, prompt):
    inputs = prompt([[2, "I", 3]])
    with prune(model, Stride(keep_ratio=0.25)) as report:
        model(**inputs)
        embeds = torch.zeros(1, 21, 32, dtype=torch.float64)
        assert model.model.language_model(inputs_embeds=embeds).last_hidden_state.shape[1] == 21
    assert len(report.prefills) == 1


def test_an_override_that_was_there_comes_back(model, prompt):
    mine = model.model.get_image_features = functools.partial(model.model.get_image_features)
    with prune(model, Random()):
        model(**prompt([["I", 1]]))
    assert model.model.get_image_features is mine


def test_nothing_keeps_the_model_alive(make_model, prompt):
    model = make_model()
    with prune(model, Random()):
        model(**prompt([["I", 1]]))
    prepare(model, Random(), **prompt([["I", 1]]))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_pixels_alone_do_not_make_a_prefill(model, prompt):
    """Image tokens without pixels are plain embeddings: nothing is pruned."""
    inputs = prompt([[2, "I", 3]])
    inputs.pop("pixel_values")
    plain = model(**inputs).logits
    with prune(model, Random()) as report:
        assert torch.equal(model(**inputs).logits, plain)
    assert not report.prefills
