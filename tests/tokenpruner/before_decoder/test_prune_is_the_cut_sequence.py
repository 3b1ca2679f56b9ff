"""prune(): the same numbers as the pruned sequence run by hand, however it is batched, padded and decoded."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.caches import cache_from
from tokenpruner import prune
from tokenpruner.before_decoder import shortened_inputs
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.random import Random
from tokenpruner.methods.stride import Stride

CLOSE = {"rtol": 0, "atol": 2e-5}
GREEDY = {"do_sample": False, "max_new_tokens": 6, "return_dict_in_generate": True, "output_logits": True}
METHODS = [DivPrune(keep_ratio=0.25), Random(keep_ratio=0.3), Stride(keep_ratio=0.2, positions="compact")]
RAGGED = [[2, "I", 3], ["I", 4, "I", 2], [5], [3, "I", "I", 1]]


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), **CLOSE)


def stepwise(out):
    """Logits of a generation, [rows, steps, vocabulary]."""
    return torch.stack(out.logits, 1)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("positions", ["keep", "compact"])
def test_keeping_everything_is_bit_equal(model, prompt, use_cache, positions):
    inputs = prompt(RAGGED)
    with torch.no_grad():
        plain = model(**inputs, use_cache=use_cache).logits
        told = model.generate(**inputs, **GREEDY, use_cache=use_cache)
        with prune(model, DivPrune(keep_ratio=1.0, positions=positions)) as report:
            assert torch.equal(model(**inputs, use_cache=use_cache).logits, plain)
            again = model.generate(**inputs, **GREEDY, use_cache=use_cache)
    assert torch.equal(again.sequences, told.sequences)
    assert torch.equal(stepwise(again), stepwise(told))
    assert report.visual_before == report.visual_after > 0


def test_keeping_everything_gathers_nothing(model, prompt, entered, monkeypatch):
    monkeypatch.setattr(shortened_inputs, "gather", lambda *_: pytest.fail("gathered"))
    with prune(model, Random(keep_ratio=1.0)):
        model(**prompt([[2, "I", 1]]))


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("vision", ["clip", "dinov2"])
def test_forward_is_the_pruned_sequence(make_model, prompt, by_hand, method, vision):
    model = make_model(vision)
    inputs = prompt([[3, "I", 2, "I", 4]])
    with torch.no_grad(), prune(model, method):
        got = model(**inputs).logits[0]
        uncached = model(**inputs, use_cache=False).logits[0]
    wanted = by_hand(model, inputs, method).logits
    close(got, wanted)
    close(uncached, wanted)


def test_pruning_changes_the_logits(model, prompt):
    inputs = prompt([[3, "I", 2]])
    with torch.no_grad():
        full = model(**inputs).logits[0, -1]
        with prune(model, DivPrune(keep_ratio=0.25)):
            pruned = model(**inputs).logits[0, -1]
    assert (full - pruned).abs().max() > 1e-2


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_padded_forward_equals_singles(model, prompt, singles, by_hand, method, side):
    inputs = prompt(RAGGED, side)
    with torch.no_grad(), prune(model, method):
        together = model(**inputs).logits
        uncached = model(**inputs, use_cache=False).logits
    for row, alone in enumerate(singles(inputs)):
        wanted = by_hand(model, alone, method).logits
        close(together[row, -len(wanted) :], wanted)
        close(uncached[row, -len(wanted) :], wanted)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_padded_generation_equals_singles(model, prompt, singles, by_hand, method, use_cache):
    inputs = prompt(RAGGED)
    with prune(model, method):
        out = model.generate(**inputs, **GREEDY, use_cache=use_cache)
        rows = [model.generate(**row, **GREEDY, use_cache=use_cache) for row in singles(inputs)]
    told = out.sequences[:, inputs["input_ids"].shape[1] :]
    for row, alone in enumerate(singles(inputs)):
        assert torch.equal(rows[row].sequences[0, alone["input_ids"].shape[1] :], told[row])
        # each step against the whole sequence computed anew
        wanted = by_hand(model, alone, method, told[row, :-1].tolist()).logits[-6:]
        close(stepwise(rows[row])[0], wanted)
        close(stepwise(out)[row], wanted)


@pytest.mark.parametrize("kind", [{"num_beams": 3, "num_return_sequences": 2}, {"num_beams": 2}])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_beams_equal_singles(model, prompt, expandable, singles, method, kind):
    inputs = prompt(expandable(RAGGED))
    wanted = {"do_sample": False, "max_new_tokens": 6, **kind}
    with prune(model, method):
        out = model.generate(**inputs, **wanted)
        n = kind.get("num_return_sequences", 1)
        for row, alone in enumerate(singles(inputs)):
            own = model.generate(**alone, **wanted)[:, alone["input_ids"].shape[1] :]
            assert torch.equal(own, out[row * n : row * n + n, inputs["input_ids"].shape[1] :])


def test_cached_beams_equal_uncached_beams(model, prompt, expandable):
    inputs = prompt(expandable(RAGGED))
    kind = {"do_sample": False, "max_new_tokens": 6, "num_beams": 3}
    with prune(model, DivPrune(keep_ratio=0.3, positions="compact")):
        assert torch.equal(model.generate(**inputs, **kind), model.generate(**inputs, **kind, use_cache=False))


def test_returned_samples_go_on_from_the_pruned_prompt(model, prompt, singles, by_hand):
    inputs, method = prompt([[2, "I", 3], [4]]), Random(keep_ratio=0.25)
    with prune(model, method):
        torch.manual_seed(0)
        out = model.generate(**inputs, **{**GREEDY, "do_sample": True}, num_return_sequences=3)
    length = inputs["input_ids"].shape[1]
    for number, told in enumerate(out.sequences[:, length:]):
        alone = singles(inputs)[number // 3]
        close(stepwise(out)[number], by_hand(model, alone, method, told[:-1].tolist()).logits[-6:])


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_eager_and_sdpa_agree(make_model, prompt, method):
    inputs, outs = prompt(RAGGED), []
    inputs["pixel_values"] = inputs["pixel_values"].float()
    for attention in ("eager", "sdpa"):
        # in float64 transformers' own eager attention turns left padding into NaN
        model = make_model(attention=attention).float()
        with prune(model, method):
            outs.append(model.generate(**inputs, **GREEDY))
    assert torch.equal(outs[0].sequences, outs[1].sequences)
    close(stepwise(outs[0]), stepwise(outs[1]))


def test_prompt_lookup_equals_greedy(model, prompt):
    inputs = prompt([[3, "I", 4]])
    inputs["input_ids"][0, -2:] = inputs["input_ids"][0, :2]
    kind = {"do_sample": False, "max_new_tokens": 12}
    for positions in ("keep", "compact"):
        with prune(model, DivPrune(keep_ratio=0.25, positions=positions)):
            plain = model.generate(**inputs, **kind)
            assert torch.equal(model.generate(**inputs, **kind, prompt_lookup_num_tokens=3), plain)


def test_positions_are_what_the_policy_says(model, prompt, entered):
    inputs = prompt([[2, "I", 1], [3]])
    for policy in ("keep", "compact"):
        entered.clear()
        with prune(model, Stride(keep_ratio=0.25, positions=policy)) as report:
            model.generate(**inputs, do_sample=False, max_new_tokens=3)
        # the four cells' centres of a 4 x 4 grid, moved behind two tokens of text
        assert report.images[0].kept == (5, 7, 13, 15)
        first, second, third = (seen["position_ids"].tolist() for seen in entered)
        if policy == "keep":
            assert first == [[0, 1, 7, 9, 15, 17, 18], [0, 0, 0, 0, 0, 1, 2]]
            assert second == [[19], [3]]
            assert third == [[20], [4]]
        else:
            assert first == [[0, 1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 1, 2]]
            assert second == [[7], [3]]
            assert third == [[8], [4]]


def test_gaps_are_not_taken_for_packed_sequences(model, prompt, by_hand, monkeypatch):
    """Without cache and mask, transformers reads a gap in the positions as the start of another sequence."""
    inputs, method = prompt([[3, "I", 4]]), DivPrune(keep_ratio=0.25, positions="keep")
    inputs.pop("attention_mask")
    wanted = by_hand(model, inputs, method).logits
    with torch.no_grad(), prune(model, method):
        close(model(**inputs, use_cache=False).logits[0], wanted)
        # the trap is still there: the same pass without the mask is wrong
        shortened = shortened_inputs.shortened

        def unmasked(*args):
            changed, *rest = shortened(*args)
            return changed | {"attention_mask": None}, *rest

        monkeypatch.setattr("tokenpruner.before_decoder.engine.shortened", unmasked)
        trapped = model(**inputs, use_cache=False).logits[0]
    assert (trapped - wanted).abs().max() > 1e-2


def test_equal_visual_tokens(model, prompt, by_hand):
    inputs = prompt([[2, "I", 3], ["I", 4]])
    inputs["pixel_values"][1] = 0
    method = DivPrune(keep_ratio=0.25)
    model.model.vision_tower.embeddings.position_embedding.weight.data.zero_()
    features = model.model.get_image_features(inputs["pixel_values"]).pooler_output[1]
    assert (features - features[0]).abs().max() < 1e-12
    with torch.no_grad(), prune(model, method) as report:
        logits = model(**inputs).logits
    assert [len(set(image.kept)) for image in report.images] == [4, 4]
    alone = {name: value[1:] for name, value in inputs.items()}
    alone = {**alone, "input_ids": alone["input_ids"][:, 1:], "attention_mask": alone["attention_mask"][:, 1:]}
    wanted = by_hand(model, alone, method).logits
    close(logits[1, -len(wanted) :], wanted)


def test_a_dropped_nan_stays_away_from_the_others(model, prompt):
    """A token that was dropped fills up shorter rows: it must not reach anything there."""
    inputs = prompt([["I", 3], [4, "I", "I", 2]])
    method = Stride(keep_ratio=0.25)

    def poison(module, args, kwargs):
        kwargs["inputs_embeds"][0, inputs["attention_mask"].shape[1] - 3 - 16] = torch.nan
        return args, kwargs

    handle = model.model.language_model.register_forward_pre_hook(poison, with_kwargs=True)
    with torch.no_grad(), prune(model, method):
        assert model(**inputs).logits[0, -7:].isfinite().all()
    handle.remove()


def test_text_goes_through_untouched(model, prompt, entered):
    inputs = prompt([[3], [5]])
    with torch.no_grad():
        plain = model.generate(**inputs, **GREEDY)
        before = [seen["attention_mask"] for seen in entered]
        entered.clear()
        with prune(model, DivPrune(keep_ratio=0.1)) as report:
            again = model.generate(**inputs, **GREEDY)
    assert torch.equal(stepwise(plain), stepwise(again))
    assert len(before) == len(entered)
    assert not report.prefills
    assert type(cache_from(again).layers[0]).__name__ == "DynamicLayer"


def test_llava_next_works_too(prompt):
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaNextConfig, LlavaNextForConditionalGeneration

    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4
    )
    text = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, pad_token_id=0
    )
    config = LlavaNextConfig(
        vision_config=vision, text_config=text, image_token_index=5, image_grid_pinpoints=[[32, 16], [16, 32]]
    )
    config.vision_feature_layer = -1
    model = LlavaNextForConditionalGeneration(config).eval()
    sizes = torch.tensor([[32, 16], [16, 32]])
    pixels = torch.randn(2, 3, 3, 16, 16)
    features = model.model.get_image_features(pixels, image_sizes=sizes).pooler_output
    rows = [[7, 8] + [5] * len(own) + [9] for own in features]
    length = max(map(len, rows))
    ids = torch.tensor([[0] * (length - len(row)) + row for row in rows])
    inputs = {"input_ids": ids, "attention_mask": (ids != 0).long(), "pixel_values": pixels, "image_sizes": sizes}
    kind = {"do_sample": False, "max_new_tokens": 5, "suppress_tokens": [5]}
    with prune(model, DivPrune(keep_ratio=0.2)) as report:
        cached = model.generate(**inputs, **kind)
        n_images = len(report.images)
        uncached = model.generate(**inputs, **kind, use_cache=False)
    assert torch.equal(cached, uncached)
    assert n_images == 2
    # 4 x 4 in overview, 8 x 4 and 4 x 8 in detail; each line of the detail ends with a newline, a token like others
    assert [len(own) for own in features] == [16 + 40, 16 + 36]
    assert [image.size for image in report.images[:2]] == [56, 52]
    assert report.prefills[0].tokens_after == (3 + 12, 3 + 11)
