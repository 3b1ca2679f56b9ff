"""A cache whose layers differ in length: later passes on it are right, and it says clearly when they cannot be."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.tokenpruner.caches import cache_from, followed, likely, with_cache
from tests.tokenpruner.inside_decoder.layer_replay import Cut, replay
from tokenpruner import prune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop
from tokenpruner.methods.stride import Stride

GREEDY = {"do_sample": False, "max_new_tokens": 5, "return_dict_in_generate": True, "output_logits": True}
ONE = (FastV(0.25, positions="keep"), [Cut(2, 0.25, 1)])
SEVERAL = (PyramidDrop(n_stages=3, positions="keep"), [Cut(1, 0.5, 1), Cut(2, 0.25, 2)])
CASES = [pytest.param(*ONE, id="one"), pytest.param(*SEVERAL, id="several")]
RAGGED = [[2, "I", 3], [4], ["I", 2, "I", 1]]


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), rtol=0, atol=2e-5)


def test_lengths_by_hand(model, prompt):
    # 2 + 16 + 3 tokens; 8 of 16 go on from layer 1, 4 from layer 2
    with torch.no_grad(), prune(model, PyramidDrop(n_stages=3, positions="keep")):
        cache = cache_from(model(**prompt([[2, "I", 3]])))
    assert [layer.keys.shape[-2] for layer in cache.layers] == [21, 13, 9]
    assert [layer.get_seq_length() for layer in cache.layers] == [21, 21, 21]
    assert type(cache.layers[0]).__name__ == "DynamicLayer"
    for layer in cache.layers[1:]:
        layer.masks_allowed = True
    assert [layer.get_mask_sizes(2) for layer in cache.layers] == [(23, 0), (15, 8), (11, 12)]


@pytest.mark.parametrize(("method", "cuts"), CASES)
def test_manual_decoding_equals_replay(model, prompt, method, cuts):
    """Neither mask nor positions are given, as people do who write the loop themselves."""
    inputs, told = prompt([[2, "I", 3]]), []
    with torch.no_grad(), prune(model, method):
        out = model(**inputs)
        for _ in range(4):
            told.append(likely(out))
            out = model(input_ids=torch.tensor([told[-1:]]), **with_cache(model, cache_from(out)))
            close(out.logits[0, -1], replay(model, inputs, cuts, told).logits[-1])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("method", "cuts"), CASES)
def test_manual_decoding_of_a_padded_batch(model, prompt, singles, method, cuts, side):
    inputs = prompt(RAGGED, side)
    following = torch.tensor([[20, 21], [22, 23], [24, 25]])
    mask = torch.nn.functional.pad(inputs["attention_mask"], (0, 2), value=1)
    where = mask.cumsum(1) - 1
    with torch.no_grad(), prune(model, method):
        cache = cache_from(model(**inputs, position_ids=where[:, :-2].clamp(min=0)))
        got = model(
            input_ids=following, attention_mask=mask, position_ids=where[:, -2:], **with_cache(model, cache)
        ).logits
    for row, alone in enumerate(singles(inputs)):
        close(got[row], replay(model, alone, cuts, following[row].tolist()).logits[-2:])


@pytest.mark.parametrize(("method", "cuts"), CASES)
@pytest.mark.parametrize("rows", [[[2, "I", 3]], RAGGED], ids=["one row", "ragged"])
def test_second_turn_equals_replay(model, prompt, singles, method, cuts, rows):
    inputs = prompt(rows)
    more = torch.arange(10, 10 + 3 * len(rows)).view(len(rows), 3)
    length = inputs["input_ids"].shape[1]
    with prune(model, method):
        first = model.generate(**inputs, **GREEDY)
        second = model.generate(**followed(model, inputs, first, more), **GREEDY)
    for row, alone in enumerate(singles(inputs)):
        said = second.sequences[row, length:-1].tolist()
        close(torch.stack(second.logits, 1)[row], replay(model, alone, cuts, said).logits[-5:])


def test_layers_of_one_length_that_hold_different_tokens(model, prompt, singles):
    """The longest row has no image: no layer gets shorter, but the other row's slots differ from cut to cut."""
    inputs, (method, cuts) = prompt([[30], [2, "I", 3]]), SEVERAL
    with prune(model, method):
        out = model.generate(**inputs, **GREEDY)
    assert [layer.keys.shape[-2] for layer in cache_from(out).layers] == [34, 34, 34]
    for row, alone in enumerate(singles(inputs)):
        said = out.sequences[row, 30:-1].tolist()
        close(torch.stack(out.logits, 1)[row], replay(model, alone, cuts, said).logits[-5:])


def test_second_turn_with_another_image(model, prompt):
    """The image of the second turn is ranked by the last token of that turn, behind a past that was cut."""
    whole = prompt([[2, "I", 3, "I", 4]])
    first = {"input_ids": whole["input_ids"][:, :21], "pixel_values": whole["pixel_values"][:1]}
    with torch.no_grad(), prune(model, FastV(0.25, positions="keep")) as report:
        cache = cache_from(model(**first))
        got = model(
            input_ids=whole["input_ids"][:, 21:], pixel_values=whole["pixel_values"][1:], **with_cache(model, cache)
        ).logits
    assert cache.get_seq_length() == 41
    assert [layer.keys.shape[-2] for layer in cache.layers] == [41, 41, 17]
    # all at once, the first image's picks being those of the first turn
    kept = [replay(model, first, ONE[1]).picks[0], None]
    alone = replay(model, whole, [Cut(2, 0.25, 1)], picked=kept)
    assert [list(image.kept) for image in report.images] == alone.picks
    close(got[0], alone.logits[-8:])


@pytest.mark.parametrize(("method", "cuts"), CASES)
@pytest.mark.parametrize("kind", [{"num_beams": 3, "num_return_sequences": 2}, {"num_beams": 2}], ids=str)
def test_beams_equal_singles(model, prompt, expandable, singles, method, cuts, kind):
    inputs = prompt(expandable(RAGGED))
    wanted = {"do_sample": False, "max_new_tokens": 6, **kind}
    with prune(model, method):
        out = model.generate(**inputs, **wanted)
        assert torch.equal(model.generate(**inputs, **wanted, use_cache=False), out)
        n = kind.get("num_return_sequences", 1)
        for row, alone in enumerate(singles(inputs)):
            own = model.generate(**alone, **wanted)[:, alone["input_ids"].shape[1] :]
            assert torch.equal(own, out[row * n : row * n + n, inputs["input_ids"].shape[1] :])


def test_returned_samples_go_on_from_the_pruned_prompt(model, prompt, singles):
    inputs, (method, cuts) = prompt([[2, "I", 3], [4]]), SEVERAL
    with prune(model, method):
        torch.manual_seed(0)
        out = model.generate(**inputs, **{**GREEDY, "do_sample": True}, num_return_sequences=3)
    length = inputs["input_ids"].shape[1]
    for number, told in enumerate(out.sequences[:, length:]):
        alone = singles(inputs)[number // 3]
        close(torch.stack(out.logits, 1)[number], replay(model, alone, cuts, told[:-1].tolist()).logits[-5:])


@pytest.mark.parametrize(("method", "cuts"), CASES)
def test_prompt_lookup_equals_greedy(model, prompt, method, cuts):
    inputs = prompt([[3, "I", 4]])
    inputs["input_ids"][0, -2:] = inputs["input_ids"][0, :2]
    kind = {"do_sample": False, "max_new_tokens": 12}
    with prune(model, method):
        plain = model.generate(**inputs, **kind)
        assert torch.equal(model.generate(**inputs, **kind, prompt_lookup_num_tokens=3), plain)


def test_crop_stops_at_what_was_dropped(model, prompt):
    inputs, (method, cuts) = prompt([[2, "I", 3]]), SEVERAL
    with torch.no_grad(), prune(model, method):
        cache = cache_from(model(**inputs))
        model(input_ids=torch.tensor([[7, 8]]), **with_cache(model, cache))
        cache.crop(-3)
        assert {layer.get_seq_length() for layer in cache.layers} == {20}
        got = model(input_ids=inputs["input_ids"][:, -1:], **with_cache(model, cache)).logits
        close(got[0, -1], replay(model, inputs, cuts).logits[-1])
        with pytest.raises(ValueError, match=r"tokens behind the last dropped one cropped, got 19"):
            cache.crop(-19)


def test_rows_are_repeated_and_taken_with_their_masks(model, prompt, singles):
    inputs, (method, cuts) = prompt([[2, "I", 3], [4]]), SEVERAL
    with torch.no_grad(), prune(model, method):
        cache = cache_from(model(**inputs))
        cache.batch_repeat_interleave(2)
        cache.batch_select_indices(torch.tensor([3, 0]))
        mask = torch.nn.functional.pad(inputs["attention_mask"].flip(0), (0, 1), value=1)
        got = model(input_ids=torch.tensor([[7], [8]]), attention_mask=mask, **with_cache(model, cache)).logits
    close(got[0, -1], replay(model, singles(inputs)[1], cuts, [7]).logits[-1])
    close(got[1, -1], replay(model, singles(inputs)[0], cuts, [8]).logits[-1])


def test_interleaved_generations_and_copies_do_not_mix(model, prompt):
    (method, cuts), prompts = SEVERAL, [prompt([[2, "I", 3]]), prompt([["I", 1, "I", 4]], seed=9)]
    with torch.no_grad(), prune(model, method):
        caches = [cache_from(model(**inputs)) for inputs in prompts]
        for token in (11, 12):
            for inputs, cache in zip(prompts, caches, strict=True):
                got = model(input_ids=torch.tensor([[token]]), **with_cache(model, copy.deepcopy(cache))).logits
                close(got[0, -1], replay(model, inputs, cuts, [token]).logits[-1])
    assert [cache.get_seq_length() for cache in caches] == [21, 37]


@torch.no_grad()
def test_what_needs_help_is_refused(model, prompt):
    """Nobody but the hooks makes a mask for each layer, and hooks of another kind cannot."""
    inputs, more = prompt([[2, "I", 3]]), torch.tensor([[7]])
    with prune(model, FastV(0.25, positions="keep")):
        cache = cache_from(model(**inputs))
    with pytest.raises(ValueError, match="the layers of this cache lack different tokens"):
        model(input_ids=more, **with_cache(model, copy.deepcopy(cache)))
    with prune(model, Stride(keep_ratio=0.25)):
        with pytest.raises(ValueError, match="the layers of this cache lack different tokens"):
            model(input_ids=more, **with_cache(model, copy.deepcopy(cache)))
        before = cache_from(model(**inputs))
    with prune(model, FastV(0.25, positions="keep")):
        with pytest.raises(ValueError, match="this cache was pruned before the decoder"):
            model(input_ids=more, **with_cache(model, before))
        # another method of the kind goes on from it
        model(input_ids=more, **with_cache(model, cache))


@pytest.mark.newest
def test_an_emptied_cache_is_as_new(model, prompt):
    """Older releases leave the length of a layer that lacks nothing as it was."""
    with prune(model, FastV(0.25, positions="keep")):
        cache = cache_from(model(**prompt([[2, "I", 3]])))
    cache.reset()
    text = prompt([[6]])
    close(model(**text, **with_cache(model, cache)).logits, model(**text).logits)
