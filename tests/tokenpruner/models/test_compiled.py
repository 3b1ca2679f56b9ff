"""Models that were compiled, as a whole or in part: pruned as if they had not been, and compiled again behind it.

Their graphs are never made here, which takes long: the backend that would get them fails.
"""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner import vision_models
from tests.tokenpruner.conftest import state
from tokenpruner import prepare, prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.tome import ToMe

GREEDY = {"do_sample": False, "max_new_tokens": 3}


def never(graph, inputs):
    raise AssertionError("compiled")


def forward(model):
    model.forward = torch.compile(model.forward, backend=never)
    return model


def inner_forward(model):
    forward(model.model.language_model)
    return model


def call(model):
    model.compile(backend=never)
    return model


def whole(model):
    return torch.compile(model, backend=never)


def whole_twice(model):
    return torch.compile(forward(call(model)), backend=never)


def backbone(model):
    model.model.language_model = torch.compile(model.model.language_model, backend=never)
    return model


WAYS = [forward, inner_forward, call, whole, whole_twice, backbone]


@pytest.mark.parametrize("method", [DivPrune(0.25), FastV(0.25, layer=1)])
@pytest.mark.parametrize("way", WAYS)
def test_it_is_pruned_as_if_it_were_not_compiled(make_model, prompt, way, method):
    inputs, plain = prompt([[2, "I", 3]]), make_model()
    # the first pass leaves hooks of transformers' own
    plain(**inputs)
    with torch.no_grad(), prune(plain, method) as report:
        wanted, told = plain(**inputs).logits, plain.generate(**inputs, **GREEDY)
    model = make_model()
    model(**inputs)
    compiled = way(model)
    before, kept = state(model), [image.kept for image in report.images]
    with torch.no_grad(), prune(compiled, method) as report:
        assert torch.equal(compiled(**inputs).logits, wanted)
        assert torch.equal(compiled.generate(**inputs, **GREEDY), told)
    assert [image.kept for image in report.images] == kept
    assert state(model) == before


@pytest.mark.parametrize("way", [forward, whole])
def test_prepare_and_an_exception_leave_it_compiled(make_model, prompt, way):
    inputs, model = prompt([[2, "I", 3]]), make_model()
    wanted = prepare(model, DivPrune(0.25), **inputs)
    compiled = way(model)
    before = state(model)
    got = prepare(compiled, DivPrune(0.25), **inputs)
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)
    with pytest.raises(KeyError), prune(compiled, DivPrune(0.25)):
        raise KeyError
    with pytest.raises(ValueError, match="want a layer from 1 to 2"), prune(compiled, FastV(layer=7)):
        pytest.fail("entered")
    assert state(model) == before


def test_layers_below_the_hooks_stay_compiled(make_model, prompt):
    inputs, model, seen = prompt([[2, "I", 3]]), make_model(), []
    with torch.no_grad(), prune(model, DivPrune(0.25)):
        wanted = model(**inputs, use_cache=False).logits

    def note(graph, examples):
        seen.append(graph)
        return graph.forward

    layer = model.model.language_model.layers[1].mlp
    layer.forward = torch.compile(layer.forward, backend=note)
    with torch.no_grad(), prune(model, DivPrune(0.25)):
        torch.testing.assert_close(model(**inputs, use_cache=False).logits, wanted)
    assert seen


@pytest.mark.parametrize("way", [forward, call, whole])
def test_a_vision_transformer(way):
    model = vision_models.build("vit")
    pixels = torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad(), prune(model, ToMe(r=2)):
        wanted = model(pixels).last_hidden_state
    compiled = way(model)
    before = state(model)
    with torch.no_grad(), prune(compiled, ToMe(r=2)) as report:
        assert torch.equal(compiled(pixels).last_hidden_state, wanted)
    assert report.visual_after < report.visual_before
    assert state(model) == before


def test_images_that_nobody_saw_are_warned_of(model, prompt):
    """A net under whatever goes round the hooks."""
    inputs = prompt([[2, "I", 3]])
    plain, model.forward = model.forward, lambda **given: "none" if "pixel_values" in given else plain(**given)
    pruning = prune(model, DivPrune(0.25))
    pruning.__enter__()
    assert (model(**inputs), model(**inputs)) == ("none", "none")
    with pytest.warns(UserWarning, match="was called 2 times with images and none was seen: nothing was pruned"):
        pruning.__exit__(None, None, None)


def test_calls_without_images_are_not_warned_of(model, prompt, recwarn):
    with prune(model, DivPrune(0.25)):
        model(**prompt([[4]]))
        model.generate(**prompt([[4]]), **GREEDY)
    with prune(model, DivPrune(0.25)):
        model.generate(**prompt([["I", 4]]), **GREEDY)
    assert not [one for one in recwarn if "none was seen" in str(one.message)]
