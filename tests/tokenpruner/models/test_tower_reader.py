"""Attention and keys of vision towers, as methods get them through real models, against those computed by hand."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters.family_checks import fed
from tests.tokenpruner.conftest import N, build, encode, state
from tests.tokenpruner.models.tower_spy import SEEN, Spy, block_inputs, projections, shown
from tokenpruner import prepare, prune
from tokenpruner.models.tower_reader import _received_masked
from tokenpruner.models.tower_reading import TOWER, TowerReading

ROWS = [[2, "I", 3, "I", 1], [4], [1, "I", 2]]


@pytest.mark.parametrize("vision", ["clip", "dinov2"])
@pytest.mark.parametrize("layer", [-2, -1, 0])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_class_attention_and_keys_by_hand(vision, layer, attention, seen):
    model, inputs = build(vision, attention), encode(ROWS)
    own, calls = block_inputs(model, layer, lambda: model(**inputs))
    hidden = torch.cat([(args[0] if args else kwargs["hidden_states"]) for args, kwargs in calls])
    q, k = (part(hidden).unflatten(-1, (2, 8)).transpose(1, 2).detach() for part in projections(own))
    weights = (q @ k.transpose(2, 3) / 8**0.5).softmax(-1)
    joint = (q.transpose(1, 2).flatten(2) @ k.transpose(1, 2).flatten(2).transpose(1, 2) / 4).softmax(-1)
    contexts = shown(model, inputs, tower_layer=layer, asked=tuple(TOWER))
    assert len(contexts) == 3
    for number, context in enumerate(contexts):
        assert context.tower is not None
        assert torch.allclose(context.tower.class_attention.double(), weights[number, :, 0, 1:].mean(0), atol=1e-6)
        assert torch.allclose(context.tower.joint_attention.double(), joint[number, 0, 1:], atol=1e-6)
        assert torch.allclose(context.tower.keys.double(), k[number, :, 1:].transpose(0, 1), atol=1e-5)
        assert context.tower.class_attention.dtype == torch.float32
        assert context.tower.keys.shape == (N, 2, 8)


def test_only_what_is_asked_for_is_kept():
    model, inputs = build(), encode(ROWS)
    (context, *_) = shown(model, inputs, asked=("class_attention",))
    assert context.tower is not None
    assert context.tower.keys is None
    assert context.tower.joint_attention is None
    assert shown(model, inputs, asked=("visual",))[0].tower is None


def test_beams_and_later_passes_get_the_readings_of_their_images(seen):
    """generate() encodes ahead of its first pass, and repeats what it got for its beams."""
    model, inputs = build(), encode([[2, "I", 3], [1, "I", 2]])
    alone = shown(model, inputs)
    SEEN.clear()
    with torch.no_grad(), prune(model, Spy()):
        model.generate(**inputs, num_beams=2, do_sample=False, max_new_tokens=2)
    assert len(SEEN) == 4
    for number, context in enumerate(SEEN):
        assert torch.equal(context.tower.class_attention, alone[number // 2].tower.class_attention)


def test_prepare_reads_the_same(seen):
    model, inputs = build(), encode(ROWS)
    alone = shown(model, inputs)
    SEEN.clear()
    prepare(model, Spy(), **inputs)
    for got, wanted in zip(SEEN, alone, strict=True):
        assert torch.equal(got.tower.keys, wanted.tower.keys)


def test_the_model_is_left_as_it_was_found(model, prompt):
    inputs = prompt([[2, "I", 3]])
    wanted = model(**inputs).logits
    before = state(model)
    with torch.no_grad(), prune(model, Spy()):
        model(**inputs)
    with pytest.raises(RuntimeError, match="stop"), prune(model, Spy()):
        raise RuntimeError("stop")
    assert state(model) == before
    assert torch.equal(model(**inputs).logits, wanted)


def test_reading_changes_nothing(model, prompt):
    """The function that the attention had does the work."""
    inputs = prompt([[2, "I", 3]])
    with torch.no_grad(), prune(model, Spy(asked=("visual",))):
        wanted = model(**inputs).logits
    with torch.no_grad(), prune(model, Spy()):
        assert torch.equal(model(**inputs).logits, wanted)


def test_pictures_in_one_sequence_are_read_each_by_itself(seen):
    """Mistral 3 puts all pictures of a batch into one, and masks them from each other."""
    feed = fed("mistral3")
    rows = [[2, "I", 3, "I", 1], ["I", 2]]
    inputs = feed.encode(rows)
    batch = shown(feed.model, inputs, tower_layer=-1)
    pixels = [key for key in inputs if "pixel" in key or "size" in key]
    for number, context in enumerate(batch):
        alone = feed.encode([[2, "I", 3]]) | {key: inputs[key][number : number + 1] for key in pixels}
        (own,) = shown(feed.model, alone, tower_layer=-1)
        assert torch.allclose(own.tower.class_attention, context.tower.class_attention, atol=1e-6)
        # of four patches of 64, each of which is read by 64
        assert own.tower.class_attention.sum() == pytest.approx(1 / 4, abs=1e-5)


@pytest.mark.parametrize("form", ["bool", "additive"])
def test_masked_attention_by_hand(form):
    """Two pictures of 3 and 2 tokens, and a token of padding that nobody sees."""
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 2, 6, 4, generator=generator) for _ in range(2))
    allowed = torch.block_diag(torch.ones(3, 3), torch.ones(2, 2), torch.zeros(1, 1)).bool()
    allowed[5, :3] = True
    mask = allowed if form == "bool" else torch.zeros(6, 6).masked_fill(~allowed, torch.finfo(torch.float32).min)
    got = _received_masked(q, k, mask[None, None], 0.5)[0]
    for own in (slice(0, 3), slice(3, 5)):
        weights = (q[0, :, own] @ k[0, :, own].mT * 0.5).softmax(-1)
        assert torch.allclose(got[own], weights.mean((0, 1)), atol=1e-6)
    assert got[5] == 0


def test_layers_and_class_tokens_that_are_not_there_are_refused(model):
    with pytest.raises(ValueError, match="has 2 blocks, got tower_layer=-3"), prune(model, Spy(tower_layer=-3)):
        pass
    feed = fed("qwen2_vl")
    with pytest.raises(ValueError, match="no class token"), prune(feed.model, Spy(asked=("joint_attention",))):
        pass
    assert TowerReading().map(torch.abs) == TowerReading()
