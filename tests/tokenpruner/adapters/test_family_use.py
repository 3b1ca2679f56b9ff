"""Every image-text-to-text architecture that can be built tiny, under beams and threads, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.tokenpruner.adapters import families, known_families
from tests.tokenpruner.adapters.family_checks import fed, generate, unless_odd
from tokenpruner import prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.stride import Stride

METHOD = DivPrune(keep_ratio=0.25)
PAIR = [[2, "I", 3], ["I", 2]]
each = pytest.mark.parametrize("name", families.params())


def said(model, inputs, **kind):
    return model.generate(**inputs, max_new_tokens=3, **kind)


@each
def test_beams_and_returned_sequences(name):
    """With a cache, which beams reorder, as without one."""
    feed = fed(name)
    inputs = feed.encode(PAIR)
    kind = {"num_beams": 3, "num_return_sequences": 2}

    def check():
        cached = said(feed.model, inputs, **kind)
        assert torch.equal(cached, said(feed.model, inputs, **kind, use_cache=False))
        assert len(cached) == 4

    unless_odd(name, known_families.BEAMS, check)
    with prune(feed.model, METHOD) as report:
        check()
    assert report.visual_after < report.visual_before


@each
def test_two_models_and_two_threads_do_not_mix(name):
    """Two threads generate from prompts of different shapes, one more model is pruned by another method meanwhile."""
    feed = fed(name)
    prompts = [feed.encode(PAIR), feed.encode([["I", 1, "I", 4]], seed=9)]
    if any("rope_deltas" in vars(module) for module in feed.model.modules()):
        prompts = prompts[:1]
    other = families.build(name, seed=5)
    with prune(other, Stride(keep_ratio=0.5)):
        apart = generate(other, prompts[0])
    with prune(feed.model, METHOD), prune(other, Stride(keep_ratio=0.5)):
        wanted = [said(feed.model, inputs) for inputs in prompts]
        with ThreadPoolExecutor(3) as pool:
            runs = [pool.submit(said, feed.model, inputs) for inputs in prompts]
            assert torch.equal(pool.submit(generate, other, prompts[0]).result(), apart)
            for run, told in zip(runs, wanted, strict=True):
                assert torch.equal(run.result(), told)


@each
def test_what_cannot_work_is_refused(name):
    feed = fed(name)
    inputs = feed.encode([[2, "I", 3]])
    with prune(feed.model, METHOD):
        with pytest.raises(ValueError, match=r"static cache .*prepare\(model, method"):
            said(feed.model, inputs, cache_implementation="static", disable_compile=True)
        with pytest.raises(ValueError, match=r"prefill_chunk_size=8: .*prepare\(model, method"):
            said(feed.model, inputs, prefill_chunk_size=8)
