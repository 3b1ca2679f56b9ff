"""Positions numbered anew behind each cut inside the decoder, against a replay that numbers them by hand."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters import families
from tests.tokenpruner.caches import cache_from, with_cache
from tests.tokenpruner.inside_decoder.layer_replay import Cut, replay
from tokenpruner import prune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop

GREEDY = {"do_sample": False, "max_new_tokens": 5, "return_dict_in_generate": True, "output_logits": True}
RAGGED = [[2, "I", 3], ["I", 4, "I", 2], [30]]
CASES = [
    pytest.param(FastV(keep_ratio=0.25, layer=1, positions="compact"), [Cut(1, 0.25, 0)], id="one"),
    pytest.param(PyramidDrop(n_stages=3, positions="compact"), [Cut(1, 0.5, 1), Cut(2, 0.25, 2)], id="several"),
]


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("method", "cuts"), CASES)
def test_forward_is_the_replay(model, prompt, singles, method, cuts, side):
    inputs = prompt(RAGGED, side)
    where = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    with torch.no_grad(), prune(model, method):
        got = [model(**inputs, **kind).logits for kind in ({}, {"position_ids": where}, {"use_cache": False})]
    for row, alone in enumerate(singles(inputs)):
        wanted = replay(model, alone, cuts, way="compact").logits
        for one in got:
            close(one[row, -len(wanted) :], wanted)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(("method", "cuts"), CASES)
def test_generation_is_the_replay(model, prompt, singles, method, cuts, use_cache):
    inputs = prompt(RAGGED)
    with prune(model, method):
        out = model.generate(**inputs, **GREEDY, use_cache=use_cache)
    told = out.sequences[:, inputs["input_ids"].shape[1] :]
    for row, alone in enumerate(singles(inputs)):
        wanted = replay(model, alone, cuts, told[row, :-1].tolist(), way="compact").logits[-5:]
        close(torch.stack(out.logits, 1)[row], wanted)


@pytest.mark.parametrize(("method", "cuts"), CASES)
def test_manual_decoding_and_a_later_turn(model, prompt, method, cuts):
    inputs, told = prompt([[2, "I", 3]]), [11, 12, 13, 14]
    with torch.no_grad(), prune(model, method):
        cache = cache_from(model(**inputs))
        got = [model(input_ids=torch.tensor([[token]]), **with_cache(model, cache)).logits[0] for token in told[:2]]
        got.append(model(input_ids=torch.tensor([told[2:]]), **with_cache(model, cache)).logits[0])
    close(torch.cat(got), replay(model, inputs, cuts, told, way="compact").logits[-4:])


def test_another_image_behind_a_past(model, prompt):
    whole, method, cuts = prompt([[2, "I", 3, "I", 4]]), *CASES[0].values
    first = {"input_ids": whole["input_ids"][:, :21], "pixel_values": whole["pixel_values"][:1]}
    with torch.no_grad(), prune(model, method):
        cache = cache_from(model(**first))
        got = model(
            input_ids=whole["input_ids"][:, 21:], pixel_values=whole["pixel_values"][1:], **with_cache(model, cache)
        ).logits
    picks = replay(model, first, cuts, way="compact").picks[0]
    close(got[0], replay(model, whole, cuts, picked=[picks, None], way="compact").logits[-8:])


def test_it_differs_from_keeping_gaps(model, prompt):
    inputs = prompt([[2, "I", 3]])
    with torch.no_grad(), prune(model, FastV(0.25, layer=1, positions="keep")):
        gaps = model(**inputs).logits
    with torch.no_grad(), prune(model, FastV(keep_ratio=0.25, layer=1, positions="compact")):
        assert (model(**inputs).logits - gaps).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["gemma3", "mistral3", "internvl"])
def test_other_families_decode_as_they_recompute(name):
    feed = families.feed(name)
    if isinstance(feed, str):
        pytest.skip(feed)
    inputs, outs = feed.encode([[2, "I", 3]]), []
    with prune(feed.model, FastV(keep_ratio=0.25, layer=1, positions="compact")):
        for use_cache in (True, False):
            out = feed.model.generate(**dict(inputs), **GREEDY, use_cache=use_cache)
            outs.append(torch.stack(out.logits))
    torch.testing.assert_close(*outs, rtol=0, atol=2e-4)


def test_what_cannot_be_numbered_anew_is_refused(model, prompt, monkeypatch):
    with pytest.raises(ValueError, match=r'want positions="keep" with mode="skip"'):
        FastV(mode="skip", positions="compact")
    feed = families.feed("qwen2_vl")
    with pytest.raises(ValueError, match=r'positions="compact" wants one position a token'):
        prune(feed.model, FastV(layer=1, positions="compact")).__enter__()
    backbone, method = model.model.language_model, FastV(positions="compact")
    rotary = backbone.rotary_emb

    class Shifted(torch.nn.Module):
        """Embeddings that depend on more than positions."""

        calls = 0

        def forward(self, x, position_ids):
            self.calls += 1
            return tuple(table + self.calls for table in rotary(x, position_ids))

    backbone.rotary_emb = Shifted()
    with prune(model, method), pytest.raises(ValueError, match="embeddings that follow from positions alone"):
        model(**prompt([[2, "I", 3]]))
    del backbone.rotary_emb
    with pytest.raises(ValueError, match="to have rotary_emb, it has none"):
        prune(model, method).__enter__()
