"""A pruned cache counts as if nothing had been dropped, and later passes on it are right."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.tokenpruner.caches import cache_from, followed, likely, with_cache
from tokenpruner import prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.stride import Stride

POLICIES = ["keep", "compact"]
GREEDY = {"do_sample": False, "max_new_tokens": 5, "return_dict_in_generate": True, "output_logits": True}


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), rtol=0, atol=2e-5)


def fail(*_):
    raise RuntimeError("on purpose")


def test_lengths_by_hand(model, prompt):
    # 2 + 16 + 3 tokens, of which 4 of 16 stay: 21 logical, 9 physical, 12 removed
    with torch.no_grad(), prune(model, Stride(keep_ratio=0.25, positions="keep")):
        cache = cache_from(model(**prompt([[2, "I", 3]])))
    assert [layer.keys.shape[-2] for layer in cache.layers] == [9, 9, 9]
    assert cache.get_seq_length() == 21
    assert cache.get_mask_sizes(2, 0) == (11, 12)


@pytest.mark.parametrize("policy", POLICIES)
def test_manual_decoding_equals_replay(model, prompt, by_hand, policy):
    """Neither mask nor positions are given, as people do who write the loop themselves."""
    inputs, method, told = prompt([[2, "I", 3]]), DivPrune(keep_ratio=0.25, positions=policy), []
    with torch.no_grad(), prune(model, method):
        out = model(**inputs)
        for _ in range(4):
            told.append(likely(out))
            out = model(input_ids=torch.tensor([told[-1:]]), **with_cache(model, cache_from(out)))
            close(out.logits[0, -1], by_hand(model, inputs, method, told).logits[-1])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("policy", POLICIES)
def test_manual_decoding_of_a_padded_batch(model, prompt, singles, by_hand, policy, side):
    """Right padding stands in the middle once a token follows: positions and mask come from the caller."""
    inputs, method = prompt([[2, "I", 3], [4], ["I", 2, "I", 1]], side), DivPrune(keep_ratio=0.25, positions=policy)
    following = torch.tensor([[20, 21], [22, 23], [24, 25]])
    mask = torch.nn.functional.pad(inputs["attention_mask"], (0, 2), value=1)
    where = mask.cumsum(1) - 1
    with torch.no_grad(), prune(model, method):
        cache = cache_from(model(**inputs, position_ids=where[:, :-2].clamp(min=0)))
        got = model(
            input_ids=following, attention_mask=mask, position_ids=where[:, -2:], **with_cache(model, cache)
        ).logits
    for row, alone in enumerate(singles(inputs)):
        close(got[row], by_hand(model, alone, method, following[row].tolist()).logits[-2:])


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("rows", [[[2, "I", 3]], [[2, "I", 3], [4], ["I", 2, "I", 1]]], ids=["one", "ragged"])
def test_second_turn_equals_replay(model, prompt, singles, by_hand, policy, rows):
    inputs, method = prompt(rows), DivPrune(keep_ratio=0.25, positions=policy)
    more = torch.arange(10, 10 + 3 * len(rows)).view(len(rows), 3)
    length = inputs["input_ids"].shape[1]
    with prune(model, method):
        first = model.generate(**inputs, **GREEDY)
        second = model.generate(**followed(model, inputs, first, more), **GREEDY)
    for row, alone in enumerate(singles(inputs)):
        said = second.sequences[row, length:-1].tolist()
        close(torch.stack(second.logits, 1)[row], by_hand(model, alone, method, said).logits[-5:])


@pytest.mark.parametrize("policy", POLICIES)
def test_second_turn_with_another_image(model, prompt, by_hand, policy):
    method = DivPrune(keep_ratio=0.25, positions=policy)
    whole = prompt([[2, "I", 3, "I", 4, "I", 2]])
    with torch.no_grad(), prune(model, method):
        cache, got = None, []
        # 21 tokens, then 20, then 18, each with one image
        for number, (start, end) in enumerate([(0, 21), (21, 41), (41, 59)]):
            out = model(
                input_ids=whole["input_ids"][:, start:end],
                attention_mask=whole["attention_mask"][:, :end],
                pixel_values=whole["pixel_values"][number : number + 1],
                **with_cache(model, cache),
            )
            cache = cache_from(out)
            got.append(out.logits[0])
    assert cache.get_seq_length() == 59
    close(torch.cat(got), by_hand(model, whole, method).logits)


def test_one_row_goes_on_outside(model, prompt, by_hand):
    """Without padding and with gaps kept nothing has to be rewritten, so that the cache is right by itself."""
    inputs, method = prompt([[2, "I", 3]]), DivPrune(keep_ratio=0.25, positions="keep")
    with prune(model, method):
        first = model.generate(**inputs, **GREEDY)
    more = torch.tensor([[9, 8]])
    second = model.generate(**followed(model, inputs, first, more), **GREEDY)
    said = second.sequences[0, 21:-1].tolist()
    close(torch.stack(second.logits, 1)[0], by_hand(model, inputs, method, said).logits[-5:])


@pytest.mark.parametrize(
    ("rows", "policy"), [([[2, "I", 3], [4]], "keep"), ([[2, "I", 3]], "compact")], ids=["padded", "compact"]
)
def test_what_needs_help_is_refused_outside(model, prompt, rows, policy):
    inputs = prompt(rows)
    with prune(model, DivPrune(keep_ratio=0.25, positions=policy)):
        first = model.generate(**inputs, **GREEDY)
        model(input_ids=torch.full((len(rows), 1), 7), **with_cache(model, cache_from(first)))
        # a pass that fails vouches for nothing afterwards
        handle = model.model.language_model.layers[0].register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="on purpose"):
            model(input_ids=torch.full((len(rows), 1), 7), **with_cache(model, cache_from(first)))
        handle.remove()
    with pytest.raises(ValueError, match=r"go on inside `with prune"):
        model(input_ids=torch.full((len(rows), 1), 7), **with_cache(model, cache_from(first)))


def test_a_copied_cache_goes_its_own_way(model, prompt, singles, by_hand):
    """A prompt is read once and continued twice, as for a shared prefix."""
    inputs, method = prompt([[2, "I", 3], [4]]), DivPrune(keep_ratio=0.25, positions="compact")
    with torch.no_grad(), prune(model, method):
        cache = cache_from(model(**inputs))
        mask = torch.nn.functional.pad(inputs["attention_mask"], (0, 1), value=1)
        for token in (11, 12):
            got = model(
                input_ids=torch.full((2, 1), token), attention_mask=mask, **with_cache(model, copy.deepcopy(cache))
            ).logits
            for row, alone in enumerate(singles(inputs)):
                close(got[row, -1], by_hand(model, alone, method, [token]).logits[-1])
    assert cache.get_seq_length() == 21


def test_interleaved_generations_do_not_mix(model, prompt, by_hand):
    """Two prompts are decoded in turns, by one model and one method."""
    method = DivPrune(keep_ratio=0.25, positions="compact")
    prompts = [prompt([[2, "I", 3]]), prompt([["I", 1, "I", 4]], seed=9)]
    with torch.no_grad(), prune(model, method):
        outs, told = [model(**inputs) for inputs in prompts], [[], []]
        for _ in range(3):
            for number, inputs in enumerate(prompts):
                told[number].append(likely(outs[number]))
                outs[number] = model(
                    input_ids=torch.tensor([told[number][-1:]]), **with_cache(model, cache_from(outs[number]))
                )
                close(outs[number].logits[0, -1], by_hand(model, inputs, method, told[number]).logits[-1])


def test_rows_are_repeated_and_taken_with_their_masks(model, prompt, singles, by_hand):
    inputs, method = prompt([[2, "I", 3], [4]]), DivPrune(keep_ratio=0.25, positions="compact")
    with torch.no_grad(), prune(model, method):
        cache = cache_from(model(**inputs))
        cache.batch_repeat_interleave(2)
        cache.batch_select_indices(torch.tensor([3, 0]))
        mask = torch.nn.functional.pad(inputs["attention_mask"].flip(0), (0, 1), value=1)
        got = model(input_ids=torch.tensor([[7], [8]]), attention_mask=mask, **with_cache(model, cache)).logits
    close(got[0, -1], by_hand(model, singles(inputs)[1], method, [7]).logits[-1])
    close(got[1, -1], by_hand(model, singles(inputs)[0], method, [8]).logits[-1])


def test_crop_stops_at_what_was_dropped(model, prompt, by_hand):
    inputs, method = prompt([[2, "I", 3]]), Stride(keep_ratio=0.25)
    with torch.no_grad(), prune(model, method):
        cache = cache_from(model(**inputs))
        model(input_ids=torch.tensor([[7, 8]]), **with_cache(model, cache))
        # the two that followed and one of the three behind the image
        cache.crop(-3)
        assert cache.get_seq_length() == 20
        got = model(input_ids=inputs["input_ids"][:, -1:], **with_cache(model, cache)).logits
        close(got[0, -1], by_hand(model, inputs, method).logits[-1])
        # the last patch was kept, the one before it was not
        with pytest.raises(ValueError, match="want at most the 4 tokens"):
            cache.crop(-5)


@pytest.mark.parametrize("policy", POLICIES)
def test_crop_of_a_padded_batch(model, prompt, singles, by_hand, policy):
    """The last three columns are taken off, then the first row says the same again and the second something else."""
    inputs, method = prompt([[2, "I", 3], [2]]), Stride(keep_ratio=0.25, positions=policy)
    ids, mask = inputs["input_ids"].clone(), inputs["attention_mask"].clone()
    ids[1, -3:], mask[1, -3:] = torch.tensor([11, 12, 13]), 1
    with torch.no_grad(), prune(model, method):
        where = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
        cache = cache_from(model(**inputs, position_ids=where))
        cache.crop(-3)
        where = mask.cumsum(1)[:, -3:] - 1
        got = model(input_ids=ids[:, -3:], attention_mask=mask, position_ids=where, **with_cache(model, cache)).logits
    close(got[0], by_hand(model, singles(inputs)[0], method).logits[-3:])
    close(got[1], by_hand(model, {"input_ids": ids[1:, -3:]}, method).logits)


def test_reset_forgets_the_pruning(model, prompt):
    inputs = prompt([[2, "I", 3]])
    with torch.no_grad(), prune(model, DivPrune(keep_ratio=0.25, positions="compact")):
        cache = cache_from(model(**inputs))
    cache.reset()
    assert cache.get_seq_length() == 0
    text = prompt([[6]])
    with torch.no_grad():
        close(model(**text, **with_cache(model, cache)).logits, model(**text).logits)


def test_a_wrong_number_of_rows_or_mask_columns_is_named(model, prompt):
    inputs = prompt([[2, "I", 3], [4]])
    with torch.no_grad(), prune(model, DivPrune(keep_ratio=0.25)):
        cache = cache_from(model(**inputs))
        with pytest.raises(ValueError, match=r"want attention_mask \[2, 22\], counted without pruning, got \[2, 10\]"):
            model(input_ids=torch.full((2, 1), 7), attention_mask=torch.ones(2, 10), **with_cache(model, cache))
        with pytest.raises(ValueError, match="want 2 rows, as many as the cache has, got 1"):
            model(input_ids=torch.full((1, 1), 7), **with_cache(model, cache))
