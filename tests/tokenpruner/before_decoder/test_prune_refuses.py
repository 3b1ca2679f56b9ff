"""What cannot be pruned is refused with the way out, and the model is left as it was."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.caches import with_cache
from tokenpruner import prepare, prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.random import Random
from tokenpruner.methods.stride import Stride

GREEDY = {"do_sample": False, "max_new_tokens": 5}


def test_what_goes_along_with_each_token(model, prompt):
    marks = torch.ones(1, 21)
    with prune(model, Random()), pytest.raises(ValueError, match=r"also takes marks \[1, 21\], of which nobody knows"):
        model(**prompt([[2, "I", 3]]), marks=marks)


@pytest.mark.parametrize("ratio", [0, 1.5, -0.1, float("nan"), True, "0.5"])
def test_a_wrong_ratio(ratio):
    with pytest.raises(ValueError, match=r"want a number in \(0, 1\]"):
        DivPrune(keep_ratio=ratio)


def test_a_wrong_policy():
    with pytest.raises(
        ValueError, match='want positions "auto", "keep", "compact", "published" or "calibrated", got \'gaps\''
    ):
        Random(positions="gaps")


@pytest.mark.parametrize("form", [prune, prepare])
def test_a_model_without_visual_tokens(form):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    model = LlamaForCausalLM(config)
    with pytest.raises(ValueError, match="LlamaForCausalLM has no visual tokens"):
        form(model, Random()).__enter__()
    with pytest.raises(ValueError, match="want a transformers model, got str"):
        form("llava", Random()).__enter__()


@pytest.mark.parametrize("form", [prune, prepare])
def test_what_is_not_a_method(model, form):
    with pytest.raises(ValueError, match="want a method such as"):
        form(model, 0.5).__enter__()


def test_nested_use_is_refused(watched):
    model, inputs, check = watched
    with prune(model, Stride(keep_ratio=0.25)):
        with pytest.raises(ValueError, match="being pruned already"), prune(model, Random()):
            pytest.fail("entered")
        with pytest.raises(ValueError, match="being pruned already"):
            prepare(model, Random(), **inputs)
        # the inner module is the same model
        with pytest.raises(ValueError, match="being pruned already"), prune(model.model, Random()):
            pytest.fail("entered")
        assert model(**inputs).logits.shape[1] == 9
    check()


def test_too_few_image_tokens(watched):
    model, inputs, check = watched
    wrong = inputs | {"input_ids": inputs["input_ids"].clone()}
    wrong["input_ids"][0, -4] = 7
    with prune(model, Random()), pytest.raises(ValueError, match="Image features and image tokens do not match"):
        model(**wrong)
    check()
    with pytest.raises(ValueError, match="Image features and image tokens do not match"):
        prepare(model, Random(), **wrong)
    check()


def test_a_static_cache(watched):
    from transformers import StaticCache

    model, inputs, check = watched
    with prune(model, Random()), pytest.raises(ValueError, match=r"static cache .*prepare\(model, method"):
        model.generate(**inputs, **GREEDY, cache_implementation="static", disable_compile=True)
    check()
    cache = StaticCache(model.config.text_config, max_cache_len=40)
    with prune(model, Random()), pytest.raises(ValueError, match=r"^a static cache .*prepare\(model, method"):
        model(**inputs, **with_cache(model, cache))


def test_a_static_cache_where_nothing_is_dropped(model, prompt):
    inputs, kind = prompt([[2, "I", 3], [4]]), {"cache_implementation": "static", "disable_compile": True}
    wanted = model.generate(**inputs, **GREEDY, **kind)
    with prune(model, Random(keep_ratio=1.0)):
        assert torch.equal(model.generate(**inputs, **GREEDY, **kind), wanted)


def test_a_quantized_cache(model, prompt):
    from transformers.cache_utils import DynamicCache, DynamicLayer

    class Packed(DynamicLayer):
        """Stands for any kind of layer that nobody here knows."""

    cache = DynamicCache()
    cache.layers = [Packed() for _ in range(3)]
    with prune(model, Random()), pytest.raises(ValueError, match=r"got Packed: use .*prepare\("):
        model(**prompt([[2, "I", 3]]), **with_cache(model, cache))


def test_chunked_prefill(watched):
    model, inputs, check = watched
    with prune(model, Random()), pytest.raises(ValueError, match=r"got prefill_chunk_size=8: .*prepare\("):
        model.generate(**inputs, **GREEDY, prefill_chunk_size=8)
    check()
    text = {name: inputs[name][1:, -4:] for name in ("input_ids", "attention_mask")}
    with prune(model, Random()):
        model.generate(**text, **GREEDY, prefill_chunk_size=2)
    check()


def test_chunked_prefill_of_the_generation_config(model, prompt):
    model.generation_config.prefill_chunk_size = 8
    with prune(model, Random()), pytest.raises(ValueError, match="prefill_chunk_size=8"):
        model.generate(**prompt([[2, "I", 3]]), **GREEDY)


def test_labels(watched):
    model, inputs, check = watched
    labels = inputs["input_ids"].clone()
    with prune(model, Random()):
        with pytest.raises(ValueError, match="want all logits where there are labels, got logits_to_keep=4"):
            model(**inputs, labels=labels, logits_to_keep=4)
        with pytest.raises(ValueError, match=r"want labels \[2, 21\], one a token, got \[2, 20\]"):
            model(**inputs, labels=labels[:, 1:])
        with pytest.raises(ValueError, match=r"want shift_labels \[2, 21\], one a token, got \[2, 20\]"):
            model(**inputs, labels=labels, shift_labels=labels[:, 1:])
        # nothing is left of the refusals
        assert model(**inputs, logits_to_keep=4).logits.shape[1] == 4
    check()
    with pytest.raises(ValueError, match="got labels"):
        prepare(model, Random(), **inputs, labels=labels)


def test_indices_of_logits(model, prompt):
    with prune(model, Random()), pytest.raises(ValueError, match="want logits_to_keep as a count"):
        model(**prompt([[2, "I", 3]]), logits_to_keep=torch.tensor([3, 4]))


def test_a_past_in_prepare(model, prompt):
    with pytest.raises(ValueError, match="got (cache|past_key_values)"):
        prepare(model, Random(), **prompt([["I", 1]]), **with_cache(model, torch.zeros(1)))


def test_hidden_image_tokens_and_prepared_masks(model, prompt):
    inputs = prompt([[1, "I", 3], ["I", 4]])
    inputs["attention_mask"][1, 5] = 0
    hidden = "row 1: want attention_mask 1 on image tokens, got 0"
    with pytest.raises(ValueError, match=hidden):
        prepare(model, Random(), **inputs)
    with prune(model, Random()), pytest.raises(ValueError, match=hidden):
        model(**inputs)
    inputs["attention_mask"] = torch.ones(2, 1, 20, 20)
    with prune(model, Random()), pytest.raises(ValueError, match=r"want attention_mask \[2, 20\]"):
        model(**inputs)


@pytest.mark.parametrize("place", ["row", "second"])
def test_nan_names_its_place(model, prompt, place):
    inputs = prompt([[2, "I", 3], ["I", 4, "I", 2]])
    broken = 0 if place == "row" else 2
    inputs["pixel_values"][broken, 0, 0, 0] = torch.nan
    where = "image 0 of row 0" if place == "row" else "image 1 of row 1"
    with prune(model, DivPrune()), pytest.raises(ValueError, match=f"visual embedding 0 of {where} has NaN"):
        model(**inputs)
