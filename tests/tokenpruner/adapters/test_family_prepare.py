"""prepare() on well-known families: equal to prune() where generate() takes what the decoder needs, or refused."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters import known_families
from tests.tokenpruner.adapters.family_checks import RAGGED, close, fed, generate, unless_odd
from tokenpruner import prepare, prune
from tokenpruner.methods.divprune import DivPrune

METHOD = DivPrune(keep_ratio=0.25)
MROPE = ["qwen2_vl", "qwen2_5_vl", "glm4v"]
TAKEN = ["llava", "llava_next", "internvl", "idefics3", "mistral3", *MROPE]
STATIC = {"cache_implementation": "static", "disable_compile": True}


@pytest.mark.parametrize("name", TAKEN)
def test_equals_prune_with_either_cache_and_with_drafts(name):
    """Rows of several lengths; drafts of the next tokens are looked up in what was said, one row at a time."""
    feed = fed(name)
    inputs = feed.encode(RAGGED)
    with prune(feed.model, METHOD):
        wanted = generate(feed.model, inputs)
    prepared = prepare(feed.model, METHOD, **inputs)
    close(generate(feed.model, prepared), wanted)
    close(generate(feed.model, prepared, **STATIC), wanted)
    alone = prepare(feed.model, METHOD, **feed.encode([[2, "I", 3]]))
    kind = {"max_new_tokens": 6, "do_sample": False}
    drafts = {"prompt_lookup_num_tokens": 2}

    def check(inputs):
        assert torch.equal(feed.model.generate(**inputs, **kind, **drafts), feed.model.generate(**inputs, **kind))

    text = feed.encode([[4]])
    embeds = feed.model.get_input_embeddings()(text["input_ids"])
    # older releases go wrong with drafts behind embeddings, whoever made them
    unless_odd(
        name, known_families.DRAFTS, lambda: check({"inputs_embeds": embeds, "attention_mask": text["attention_mask"]})
    )
    check(alone)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_equals_prune_with_beams(name):
    feed = fed(name)
    inputs, kind = feed.encode([[2, "I", 3], ["I", 2]]), {"num_beams": 3, "num_return_sequences": 2}
    with prune(feed.model, METHOD):
        unless_odd(name, known_families.BEAMS, lambda: feed.model.generate(**inputs, max_new_tokens=3, **kind))
        wanted = feed.model.generate(**inputs, max_new_tokens=3, **kind)
    got = feed.model.generate(**prepare(feed.model, METHOD, **inputs), max_new_tokens=3, **kind)
    assert torch.equal(got, wanted[:, inputs["input_ids"].shape[1] :])


@pytest.mark.parametrize("name", MROPE)
def test_positions_of_all_rows_are_carried(name):
    """In time, height and width, as the model itself places them; what it remembers of its last pass is put back."""
    feed = fed(name)
    inputs = feed.encode([[2, "I", 3]])
    feed.model.model.rope_deltas = torch.tensor([[7]])
    got = prepare(feed.model, METHOD, **inputs)["position_ids"]
    assert feed.model.model.rope_deltas.tolist() == [[7]]
    given = {key: value for key, value in inputs.items() if key not in ("pixel_values",)}
    whole = feed.model.model.get_rope_index(**given)[0]
    columns = got[0, 0]
    assert got.shape == (4, 1, 2 + 4 + 3)
    assert torch.equal(got[1:], whole[:, :, columns])
    assert got[1:, 0, -1].unique().numel() == 1
    assert got[1, 0, -1] < columns[-1]


@pytest.mark.parametrize("name", ["qwen3_vl"])
def test_planes_that_generate_cannot_be_given_are_refused(name):
    feed = fed(name)
    inputs = feed.encode([[2, "I", 3]])
    with pytest.raises(ValueError, match=r"deepstack_visual_embeds, which generate\(\) cannot be given: use"):
        prepare(feed.model, METHOD, **inputs)
    text = feed.encode([[4]])
    assert prepare(feed.model, METHOD, **text).keys() == text.keys()


@pytest.mark.parametrize("name", ["gemma3", "paligemma"])
def test_a_generate_without_embeddings_is_refused(name):
    feed = fed(name)
    with pytest.raises(ValueError, match=r"want a generate\(\) that takes inputs_embeds, .*: use `with prune"):
        prepare(feed.model, METHOD, **feed.encode([[2, "I", 3]]))


@pytest.mark.parametrize("name", [*MROPE, "qwen3_vl"])
def test_compact_is_refused_for_positions_of_three_rows(name):
    """Before anything is changed, and naming what to take instead."""
    feed = fed(name)
    inputs = feed.encode([[2, "I", 3]])
    method = DivPrune(keep_ratio=0.25, positions="compact")
    with pytest.raises(ValueError, match=r'has three: take positions="keep"'), prune(feed.model, method):
        pytest.fail("entered")
    assert "generate" not in vars(feed.model)
    with pytest.raises(ValueError, match=r'has three: take positions="keep"'):
        prepare(feed.model, method, **inputs)
