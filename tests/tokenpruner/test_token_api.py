"""prune() as it is called: by text, without `with`, copied, from two threads, for long."""

from __future__ import annotations

import copy
import gc
import threading

import pytest
import torch

import tokenpruner
from tests.tokenpruner.adapters import families
from tests.tokenpruner.caches import with_cache
from tokenpruner import Context, prepare, prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.random import Random

GREEDY = {"do_sample": False, "max_new_tokens": 2}


def test_a_method_by_its_text(model, prompt):
    inputs = prompt([[2, "I", 3]])
    with torch.no_grad(), prune(model, "divprune:keep_ratio=0.25") as report:
        got = model(**inputs).logits
    with torch.no_grad(), prune(model, DivPrune(0.25)):
        assert torch.equal(model(**inputs).logits, got)
    assert report.method == "divprune:keep_ratio=0.25,positions=compact"
    prepared = [prepare(model, method, **inputs) for method in ("divprune:n_keep=4", DivPrune(n_keep=4))]
    assert torch.equal(*(one["inputs_embeds"] for one in prepared))
    with pytest.raises(ValueError, match="want a method such as"):
        prune(model, 0.5)
    with pytest.raises(ValueError, match="fastv has no field 'ratio'; it has keep_ratio, n_keep"):
        prune(model, "fastv:ratio=0.5")


def test_short_imports():
    assert tokenpruner.DivPrune is DivPrune
    assert tokenpruner.ZeroTPrune.__module__ == "tokenpruner.methods.zero_tprune"
    for name in ("divprune", "Divprune", "Nothing"):
        with pytest.raises(AttributeError, match=name):
            getattr(tokenpruner, name)


def test_prune_without_with_is_warned_of(model):
    with pytest.warns(UserWarning, match=r"prune\(...\) alone prunes nothing: want `with prune"):
        prune(model, DivPrune(0.25))


def test_it_may_be_entered_again_and_decorate(model, prompt, recwarn):
    pruning, inputs = prune(model, DivPrune(0.25)), prompt([[2, "I", 3]])
    with torch.no_grad():
        with pruning as first:
            wanted = model(**inputs).logits
        with pruning as second:
            assert torch.equal(model(**inputs).logits, wanted)
        assert torch.equal(pruning(model)(**inputs).logits, wanted)
    assert (first.n_passes, second.n_passes) == (1, 1)
    assert first is not second
    del pruning
    gc.collect()
    assert not recwarn


@pytest.mark.parametrize("method", [DivPrune(0.25), FastV(0.25, layer=1)])
def test_a_copy_inside_is_refused(watched, method):
    """Its hooks would work on the model itself."""
    model, _, check = watched
    with prune(model, method):
        for part in (model, model.model, model.model.language_model):
            with pytest.raises(ValueError, match="is being pruned: copy it before `with prune"):
                copy.deepcopy(part)
    check()
    copy.deepcopy(model)


def test_another_ratio_from_a_second_thread(model, prompt):
    """Refused with the way out, which gives each request a ratio of its own, from any number of threads."""
    inputs, said = prompt([[2, "I", 3]]), []

    def enter():
        with pytest.raises(ValueError, match=r"give each request a method of its own by .*prepare\(model, method"):
            prune(model, DivPrune(0.5)).__enter__()
        said.append("refused")

    with prune(model, DivPrune(0.25)):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    assert said == ["refused"]
    wanted = {ratio: model.generate(**prepare(model, DivPrune(ratio), **inputs), **GREEDY) for ratio in (0.25, 0.5)}
    found = {}

    def request(ratio):
        found[ratio] = model.generate(**prepare(model, DivPrune(ratio), **inputs), **GREEDY)

    threads = [threading.Thread(target=request, args=(ratio,)) for ratio in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[ratio], wanted[ratio]) for ratio in wanted)


def test_everything_is_held_on_request(model, prompt):
    inputs = prompt([[2, "I", 3]])
    for hold, held in ((2, 2), (None, 4), (0, 0)):
        with torch.no_grad(), prune(model, DivPrune(0.25), hold=hold) as report:
            for _ in range(4):
                model(**inputs)
        assert (len(report.prefills), len(report.calls_ms)) == (held, held)
        assert (report.n_passes, report.n_calls, report.visual_after) == (4, 4, 16)


@pytest.mark.parametrize("name", ["use_cache", "cache_implementation", "assistant_model", "prefill_chunk_size"])
def test_prepare_says_where_arguments_of_generate_belong(model, prompt, name):
    wanted = rf"got {name}: hand it to model.generate\(\*\*prepare\(model, method, \*\*inputs\), {name}=...\)"
    with pytest.raises(ValueError, match=wanted):
        prepare(model, DivPrune(0.25), **prompt([[2, "I", 3]]), **{name: True})


def test_static_caches_are_refused_with_what_can_be_done(model, prompt):
    inputs = prompt([[2, "I", 3]])
    refusals = (
        (DivPrune(0.25), r"use model.generate\(\*\*prepare\(model, method, \*\*inputs\)\), or a dynamic cache"),
        (FastV(0.25, layer=1), "leave it out, for a method inside the decoder works with dynamic caches"),
    )
    for method, wanted in refusals:
        for kind in ({"cache_implementation": "static", "disable_compile": True}, {"prefill_chunk_size": 4}):
            with prune(model, method), pytest.raises(ValueError, match=wanted):
                model.generate(**inputs, **GREEDY, **kind)


def test_a_static_cache_of_qwen():
    """Whose generate() makes masks for each kind of layer ahead of the model."""
    from transformers import StaticCache

    feed = families.fresh("qwen2_5_vl")
    inputs = feed.encode([[2, "I", 3]])
    for method in (DivPrune(0.25), FastV(0.25, layer=1)):
        cache = StaticCache(config=feed.model.config.get_text_config(), max_cache_len=64)
        with prune(feed.model, method), pytest.raises(ValueError, match="a static cache has its mask made before"):
            feed.model.generate(**inputs, **GREEDY, **with_cache(feed.model, cache), disable_compile=True)


def test_random_draws_each_image_anew():
    """From the seed and the image: neither from its place in a data set nor from what is beside it in a batch."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(6, 16, 48, generator=generator)
    picks = [tuple(Random(0.5).select(Context(image)).tolist()) for image in images]
    assert len({*picks}) == 6
    assert picks == [tuple(Random(0.5).select(Context(image)).tolist()) for image in images]
    # rounding moves none of them
    moved = images * (1 + 1e-6 * torch.randn(images.shape, generator=generator))
    assert picks == [tuple(Random(0.5).select(Context(image)).tolist()) for image in moved]
    assert picks != [tuple(Random(0.5, seed=1).select(Context(image)).tolist()) for image in images]
    twice = [tuple(Random(0.5).select(Context(images[0], image=number)).tolist()) for number in (0, 1)]
    assert len({*twice}) == 2
