"""prune() as it is called: by text, without `with`, copied, from two threads, for long."""

from __future__ import annotations

import copy
import functools
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import tokenpruner
from tests.tokenpruner.adapters import families
from tests.tokenpruner.caches import with_cache
from tests.tokenpruner.conftest import state
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


RATIOS = (0.125, 0.25, 0.5, 0.75)


def in_threads(run, arguments):
    """Runs `run` for each of `arguments` in a thread of its own, all at once; raises what one of them raised."""
    with ThreadPoolExecutor(len(arguments)) as pool:
        return [one.result() for one in [pool.submit(run, argument) for argument in arguments]]


@pytest.mark.parametrize("kind", [DivPrune, functools.partial(FastV, layer=1)])
def test_each_request_has_its_own_ratio(watched, prompt, kind):
    """A server's threads enter one model as they like, and leave in any order."""
    model, inputs, check = watched
    alone = {}
    for ratio in RATIOS:
        with prune(model, kind(ratio)) as report:
            alone[ratio] = (model.generate(**inputs, **GREEDY), [image.kept for image in report.images])

    def request(number):
        ratio, found = RATIOS[number % 4], []
        for _ in range(3):
            with prune(model, kind(ratio)) as report:
                told = model.generate(**inputs, **GREEDY)
                found.append((torch.equal(told, alone[ratio][0]), [image.kept for image in report.images]))
        return found

    for number, found in enumerate(in_threads(request, range(6))):
        assert found == [(True, alone[RATIOS[number % 4]][1])] * 3
    check()


def test_who_has_entered_nothing_has_the_first_one(watched, prompt):
    model, inputs, check = watched
    entered, leave = threading.Event(), threading.Event()

    def other():
        with prune(model, DivPrune(0.75)) as report:
            entered.set()
            leave.wait(60)
            model.generate(**inputs, **GREEDY)
        return report

    def bystander():
        model.generate(**inputs, **GREEDY)

    with ThreadPoolExecutor(1) as pool, prune(model, DivPrune(0.25)) as mine:
        running = pool.submit(other)
        assert entered.wait(60)
        in_threads(lambda _: bystander(), [0])
        model.generate(**inputs, **GREEDY)
        assert (mine.visual_after, mine.n_calls) == (8, 2)
        with pytest.raises(ValueError, match="another thread may have a method of its own"):
            prune(model, DivPrune(0.5)).__enter__()
        leave.set()
        # the first one may be the last to leave, or the first
        report = running.result()
    assert (report.visual_after, report.n_calls) == (12, 1)
    check()


def test_the_first_one_may_leave_first(watched, prompt):
    model, inputs, check = watched
    entered, left = threading.Event(), threading.Event()

    def other():
        with prune(model, FastV(0.75, layer=1)) as report:
            entered.set()
            left.wait(60)
            model.generate(**inputs, **GREEDY)
        return report

    with ThreadPoolExecutor(1) as pool:
        with prune(model, DivPrune(0.25)):
            running = pool.submit(other)
            assert entered.wait(60)
        left.set()
        report = running.result()
    assert (report.visual_after, report.n_calls) == (12, 1)
    check()


def test_a_compiled_model_is_compiled_again_when_all_have_left(make_model, prompt):
    model, inputs = make_model(), prompt([[2, "I", 3]])
    model(**inputs)

    def never(graph, examples):
        raise AssertionError("compiled")

    model.forward = torch.compile(model.forward, backend=never)
    before, entered, left = state(model), threading.Event(), threading.Event()

    def other():
        with prune(model, DivPrune(0.75)):
            entered.set()
            left.wait(60)
            return model.generate(**inputs, **GREEDY)

    with ThreadPoolExecutor(1) as pool:
        with prune(model, DivPrune(0.25)):
            running = pool.submit(other)
            assert entered.wait(60)
        left.set()
        running.result()
    assert state(model) == before


def test_prepared_prompts_from_several_threads(model, prompt):
    inputs = prompt([[2, "I", 3]])
    wanted = [model.generate(**prepare(model, DivPrune(ratio), **inputs), **GREEDY) for ratio in RATIOS]
    found = in_threads(lambda ratio: model.generate(**prepare(model, DivPrune(ratio), **inputs), **GREEDY), RATIOS)
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))


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
