"""Every image-text-to-text architecture of transformers that can be built tiny, pruned before its decoder.

Everything here runs on all of them, and so do beams, threads and refusals in test_family_use.py. What a model does
not do without pruning, it is excused from with a reason, which is held against it.
"""

from __future__ import annotations

import copy

import pytest
import torch

from tests.tokenpruner.adapters import families, known_families
from tests.tokenpruner.adapters.family_checks import RAGGED, by_hand, close, fed, generate, singles, unless_odd
from tests.tokenpruner.caches import cache_from, with_cache
from tests.tokenpruner.conftest import state
from tokenpruner import prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.stride import Stride
from tokenpruner.models import adapter

METHOD = DivPrune(keep_ratio=0.25)
TWO = {"max_new_tokens": 2}

each = pytest.mark.parametrize("name", families.params())


@each
def test_keeping_everything_is_bit_equal_with_and_without_cache(name):
    feed = fed(name)
    inputs = feed.encode(RAGGED)
    for kind in (TWO, TWO | {"use_cache": False}):
        wanted = generate(feed.model, inputs, **kind)
        with prune(feed.model, Stride(keep_ratio=1.0)) as report:
            assert torch.equal(generate(feed.model, inputs, **kind), wanted)
        assert report.visual_before == report.visual_after > 0


@each
def test_equals_the_sequence_cut_by_hand(name):
    """With few tokens an image, and with more of them than a sliding window has."""
    feed = fed(name)
    methods = [DivPrune(keep_ratio=ratio) for ratio in (0.25, 0.75)]
    for got, wanted in by_hand(feed, feed.encode([[2, "I", 3, "I", 2]]), methods):
        close(got, wanted)


@each
def test_a_padded_batch_equals_its_rows(name):
    """Several images in one row, none in another; padding on either side."""
    feed = fed(name)
    inputs = {side: feed.encode(RAGGED, side) for side in ("left", "right")}

    @torch.no_grad()
    def check():
        alone = [feed.model(**own).logits[0] for own in singles(feed, RAGGED, inputs["left"])]
        for side, batch in inputs.items():
            got = feed.model(**batch).logits
            is_cut = got.shape[1] < batch["input_ids"].shape[1]
            for row, wanted in zip(got, alone, strict=True):
                # pruned rows end where the longest one does; rows as they came on the right begin together
                close(row[-len(wanted) :] if side == "left" or is_cut else row[: len(wanted)], wanted)

    unless_odd(name, known_families.ROWS, check)
    with prune(feed.model, METHOD) as report:
        check()
    assert report.visual_after < report.visual_before


@each
def test_decoding_with_cache_equals_recomputation(name):
    feed = fed(name)
    inputs = feed.encode(RAGGED)

    def check():
        close(generate(feed.model, inputs), generate(feed.model, inputs, use_cache=False))

    unless_odd(name, known_families.CACHE, check)
    with prune(feed.model, METHOD):
        check()


@each
def test_a_second_turn_on_the_pruned_cache_equals_replay(name):
    feed = fed(name)
    inputs = feed.encode([[2, "I", 3]])
    kind = TWO | {"return_dict_in_generate": True, "output_logits": True}

    def check():
        first = feed.model.generate(**inputs, **kind)
        ids = torch.cat([first.sequences, torch.tensor([[9, 8, 7]])], 1)
        whole = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        whole |= feed.types(whole)
        text = {key: whole[key] for key in ("input_ids", "attention_mask", *feed.types(whole))}
        again = feed.model.generate(**text, **kind, **with_cache(feed.model, cache_from(first)))
        close(torch.stack(again.logits), torch.stack(feed.model.generate(**whole, **kind).logits))

    unless_odd(name, known_families.TURN, check)
    with prune(feed.model, METHOD):
        check()


@each
def test_sdpa_and_eager_agree(name):
    """With a method that reads no features: rounding in the vision tower may tip what another one picks."""
    feed = fed(name)
    inputs, model = feed.encode(RAGGED), copy.deepcopy(feed.model)

    def check():
        got = []
        for attention in ("eager", "sdpa"):
            model.set_attn_implementation(attention)
            got.append(generate(model, inputs, **TWO))
        close(*got)

    unless_odd(name, known_families.ATTENTION, check)
    with prune(model, Stride(keep_ratio=0.25)):
        check()


@each
def test_the_model_is_left_as_found_after_an_exception(name):
    feed = fed(name)
    inputs = feed.encode([[2, "I", 3], ["I", 2]])
    before = state(feed.model)

    def fail(*_):
        raise RuntimeError("on purpose")

    backbone = adapter.find(feed.model).backbone
    last = next(module for path, module in backbone.named_modules() if path.endswith("layers.1"))
    handle = last.register_forward_pre_hook(fail)
    with prune(feed.model, METHOD), pytest.raises(RuntimeError, match="on purpose"):
        feed.model(**inputs)
    handle.remove()
    after = state(feed.model)
    for entries in (*before.values(), *after.values()):
        # the model's own memory of its last pass
        entries.pop("rope_deltas", None)
    assert after == before


@pytest.mark.newest
def test_the_tables_are_exact():
    """A family is skipped only for the reason that stands in known_families.py, and while that holds."""
    here = set(families.names())
    assert set(known_families.NAMED) <= here
    assert (
        len(known_families.FED)
        == len(set(known_families.FED))
        == len({*known_families.FED} - {*known_families.REFUSED, *known_families.UNBUILT, *known_families.LARGE})
    )
    run = [name for name in sorted(here) if not isinstance(families.feed(name), str)]
    assert set(known_families.FED) & here <= set(run)
    assert len(run) >= 60
    for name in sorted(here & set(known_families.UNBUILT)):
        with pytest.raises((Exception, SystemExit)):
            families.fresh(name)


@pytest.mark.newest
@pytest.mark.parametrize("name", sorted(known_families.REFUSED))
def test_what_has_no_visual_tokens_is_refused(name):
    """Before anything is changed."""
    model = families.build(name)
    before = state(model)
    with pytest.raises(ValueError, match=r"has no visual tokens|generate\(\) of its own"), prune(model, METHOD):
        pytest.fail("entered")
    assert state(model) == before
