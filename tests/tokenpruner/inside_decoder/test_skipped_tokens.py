"""Tokens that pass layers by: against a loop that computes all tokens and puts the skipped ones back."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from tests.tokenpruner.adapters import families
from tests.tokenpruner.caches import cache_from, with_cache
from tests.tokenpruner.checkpointing import checkpoint
from tests.tokenpruner.inside_decoder.layer_replay import Cut, replay
from tokenpruner import Stage, prune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop

GREEDY = {"do_sample": False, "max_new_tokens": 5, "return_dict_in_generate": True, "output_logits": True}
RAGGED = [[2, "I", 3], ["I", 4, "I", 2], [5]]
CASES = [
    pytest.param(FastV(keep_ratio=0.25, layer=1, mode="skip"), [Cut(1, 0.25, 0)], id="one"),
    pytest.param(PyramidDrop(n_stages=3, mode="skip"), [Cut(1, 0.5, 1), Cut(2, 0.25, 2)], id="several"),
]


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("method", "cuts"), CASES)
def test_forward_is_the_loop(model, prompt, singles, method, cuts, side):
    inputs = prompt(RAGGED, side)
    with torch.no_grad(), prune(model, method) as report:
        cached = model(**inputs)
        uncached = model(**inputs, use_cache=False).logits
        alone = [model(**row).logits[0] for row in singles(inputs)]
    # nothing leaves: logits and cache are of full length
    assert cached.logits.shape[1] == inputs["input_ids"].shape[1]
    assert {layer.keys.shape[-2] for layer in cache_from(cached).layers} == {inputs["input_ids"].shape[1]}
    assert {type(layer).__name__ for layer in cache_from(cached).layers} == {"DynamicLayer"}
    picks = [list(image.kept) for image in report.prefills[0].images]
    for number, row in enumerate(singles(inputs)):
        wanted = replay(model, row, cuts, way="skip")
        real = inputs["attention_mask"][number].bool()
        for got in (cached.logits[number][real], uncached[number][real], alone[number]):
            close(got, wanted.logits)
        assert [layer[number] for layer in report.prefills[0].layers] == wanted.tokens
        assert [picks.pop(0) for _ in wanted.picks] == wanted.picks


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(("method", "cuts"), CASES)
def test_generation_is_the_loop(model, prompt, singles, method, cuts, use_cache):
    inputs = prompt(RAGGED)
    with prune(model, method):
        out = model.generate(**inputs, **GREEDY, use_cache=use_cache)
    told = out.sequences[:, inputs["input_ids"].shape[1] :]
    for row, alone in enumerate(singles(inputs)):
        wanted = replay(model, alone, cuts, told[row, :-1].tolist(), way="skip").logits[-5:]
        close(torch.stack(out.logits, 1)[row], wanted)


def test_a_second_turn_needs_nobody(model, prompt):
    inputs, cuts = prompt([[2, "I", 3]]), [Cut(1, 0.25, 0)]
    with torch.no_grad(), prune(model, FastV(keep_ratio=0.25, layer=1, mode="skip")):
        cache = cache_from(model(**inputs))
    with torch.no_grad():
        got = model(input_ids=torch.tensor([[7, 8]]), **with_cache(model, cache)).logits
    close(got[0], replay(model, inputs, cuts, [7, 8], way="skip").logits[-2:])


def test_another_image_behind_a_past(model, prompt):
    """Keys of the first turn are there for the tokens that are computed in the second."""
    whole = prompt([[2, "I", 3, "I", 4]])
    first = {"input_ids": whole["input_ids"][:, :21], "pixel_values": whole["pixel_values"][:1]}
    cuts = [Cut(1, 0.25, 0)]
    with torch.no_grad(), prune(model, FastV(keep_ratio=0.25, layer=1, mode="skip")):
        cache = cache_from(model(**first))
        got = model(
            input_ids=whole["input_ids"][:, 21:], pixel_values=whole["pixel_values"][1:], **with_cache(model, cache)
        ).logits
    wanted = replay(model, whole, cuts, picked=[replay(model, first, cuts, way="skip").picks[0], None], way="skip")
    close(got[0], wanted.logits[21:])


def test_eager_and_sdpa_agree(make_model, prompt):
    inputs, outs = prompt(RAGGED), []
    inputs["pixel_values"] = inputs["pixel_values"].float()
    for attention in ("eager", "sdpa"):
        # in float64 transformers' own eager attention turns left padding into NaN
        model = make_model(attention=attention).float()
        with torch.no_grad(), prune(model, PyramidDrop(n_stages=3, mode="skip")):
            outs.append(model(**inputs).logits[inputs["attention_mask"].bool()])
    close(*outs)


@dataclass(frozen=True)
class AheadOfLast(PyramidDrop):
    """One cut before the last layer, which is read ahead."""

    def profile(self, n_layers: int, x: float) -> tuple[Stage, ...]:
        return (Stage(n_layers - 1, x, n_layers - 1, "last"),)


@pytest.mark.parametrize("method", [FastV(0.25, layer=2, mode="skip"), AheadOfLast(0.25, mode="skip")])
def test_gradients_flow_through_keys_of_skipped_tokens(model, prompt, method):
    inputs, seen = prompt([[2, "I", 3]]), []

    def note(module, args, output):
        output.retain_grad()
        seen.append(output)

    model.model.language_model.layers[1].register_forward_hook(note)
    with prune(model, method) as report:
        model(**inputs, use_cache=False).logits[0, -1].sum().backward()
    gone = [2 + place for place in range(16) if place not in report.images[0].kept]
    assert (seen[0].grad[0, gone].abs().sum(-1) > 0).all()


def test_keys_are_made_once_for_the_choice_and_for_those_that_pass_by(model, prompt):
    """A cut that reads its own layer: keys of all tokens, then those of the computed ones."""
    inputs, lengths = prompt([[2, "I", 3]]), []
    attention = model.model.language_model.layers[1].self_attn
    attention.k_proj.register_forward_hook(lambda module, args, output: lengths.append(args[0].shape[1]))
    with torch.no_grad(), prune(model, PyramidDrop(0.25, n_stages=2, mode="skip")):
        model(**inputs)
    assert lengths == [21, 9]


def test_costs_by_hand(model, prompt):
    with torch.no_grad(), prune(model, FastV(keep_ratio=0.25, layer=1, mode="skip")) as report:
        model(**prompt([[2, "I", 3]]))
    # hidden 32, attention 4 x 8 wide, keys 2 x 8, MLP 48; 21 tokens, of which 9 are computed in layers 1 and 2
    read = 2 * 21 * 32 * (32 + 16 + 16)
    one = 2 * 9 * (2 * 32 * 32 + 2 * 32 * 16) + 4 * 9 * 21 * 32 + 2 * 9 * 3 * 32 * 48
    whole = 2 * 21 * (2 * 32 * 32 + 2 * 32 * 16) + 4 * 21 * 21 * 32 + 2 * 21 * 3 * 32 * 48
    assert report.flops_after == whole + 2 * (read + one)
    assert report.kv_bytes_after == report.kv_bytes_before == 3 * 2 * 16 * 21 * 8
    assert report.flops_before == 3 * whole


def test_a_cache_that_lacks_tokens_is_refused(model, prompt):
    with torch.no_grad(), prune(model, FastV(keep_ratio=0.25)):
        cache = cache_from(model(**prompt([[2, "I", 3]])))
    refused = pytest.raises(ValueError, match="go on inside .* with such a method that drops tokens")
    with prune(model, FastV(keep_ratio=0.25, mode="skip")), refused:
        model(input_ids=torch.tensor([[7]]), **with_cache(model, cache))


def test_gradient_checkpointing_is_refused_before_anything_runs(model, prompt, entered):
    """It hands layers no cache, where the keys of skipped tokens would be; dropping does without."""
    inputs = prompt([[2, "I", 3]])
    checkpoint(model, use_reentrant=False)
    model.train()
    refused = pytest.raises(ValueError, match='want no gradient checkpointing with mode="skip", .*: take mode="drop"')
    with prune(model, FastV(0.25, layer=1, mode="skip")), refused:
        model(**inputs, labels=inputs["input_ids"])
    assert not entered


def test_keys_that_a_layer_makes_behind_its_cache():
    """Kimi K2.5 writes latents to its cache and makes keys and values of them: skipped tokens have theirs too."""
    feed = families.fresh("kimi_k25")
    inputs, method = feed.encode([[2, "I", 3], ["I", 6]]), FastV(0.25, layer=1, mode="skip")
    kind = {"do_sample": False, "max_new_tokens": 3, "return_dict_in_generate": True, "output_logits": True}
    with prune(feed.model, method):
        cached = feed.model.generate(**inputs, **kind)
        close(torch.stack(cached.logits), torch.stack(feed.model.generate(**inputs, **kind, use_cache=False).logits))
    # its second layer is the last one: what it computes sees the keys of all tokens, as in a plain pass
    inputs = feed.encode([[2, "I", 3]])
    with torch.no_grad():
        wanted = feed.model(**inputs).logits
        with prune(feed.model, method) as report:
            got = feed.model(**inputs).logits
    (image,) = report.images
    gone = [image.columns[place] for place in range(image.size) if place not in image.kept]
    is_computed = torch.ones(got.shape[1], dtype=torch.bool)
    is_computed[gone] = False
    close(got[:, is_computed], wanted[:, is_computed])
    assert (got[:, gone] - wanted[:, gone]).abs().max() > 1e-3
