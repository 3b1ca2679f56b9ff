"""Projectors that want the grid, and features that nobody can say are empty, are refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.tokenpruner.adapters import families
from tests.tokenpruner.adapters.family_checks import fed
from tests.tokenpruner.conftest import build, encode, state
from tests.tokenpruner.vision_transformer.tower_replay import Loudest, llava
from tokenpruner import prepare, prune
from tokenpruner.methods.tome import ToMe
from tokenpruner.models import projected_towers

REFUSED = {
    "internvl": "want blocks that take|projector InternVLMultiModalProjector takes 128 numbers where a token has 32",
    "gemma3": "projector Gemma3MultiModalProjector has mm_input_projection_weight",
    "idefics3": "projector .* numbers where a token has 32",
    "vipllava": "takes 160 numbers where a token has 32: several tokens or blocks at once",
    "qwen2_vl": "want one vision transformer, patch embeddings and blocks, got 0",
    "mistral3": "want one vision transformer, patch embeddings and blocks, got 0|takes",
    "video_llava": "want one vision transformer, patch embeddings and blocks, got 2",
}


@pytest.mark.parametrize("name", families.params(REFUSED))
def test_projectors_that_want_the_grid_are_refused(name):
    feed = fed(name)
    before = state(feed.model)
    said = rf"inside the vision tower of .*({REFUSED[name]}).*; prune behind the projector, for example with DivPrune"
    with pytest.raises(ValueError, match=said), prune(feed.model, ToMe()):
        pass
    with pytest.raises(ValueError, match=said):
        prepare(feed.model, ToMe(), **feed.encode([[2, "I", 3]]))
    assert state(feed.model) == before


class Wide(nn.Module):
    """Two tokens at once, behind a reshape that no module shows."""

    def __init__(self, kind):
        super().__init__()
        self.first, self.kind = nn.Linear(32 if kind == "wide" else 16, 8), kind
        self.more = {"wide": None, "conv": nn.Conv1d(8, 8, 1), "mixing": nn.MultiheadAttention(8, 2), "table": None}[
            kind
        ]
        if kind == "table":
            self.table = nn.Parameter(torch.zeros(16, 8))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("wide", "takes 32 numbers where a token has 16"),
        ("conv", "has Conv1d, which may want"),
        ("mixing", "has MultiheadAttention, which may want"),
        ("table", "has table, which may want"),
    ],
)
def test_projectors_are_told_by_their_parts(kind, reason):
    with pytest.raises(ValueError, match=reason):
        projected_towers._check_per_token(Wide(kind), 16)


def test_a_model_that_pools_behind_its_projector_is_refused(monkeypatch):
    """It is seen in what comes out: the mean of a token and a place that holds none."""
    model, inputs = build(), encode([[2, "I", 3]])
    original = type(model.model).get_image_features

    def pooled(self, *args, **kwargs):
        output = original(self, *args, **kwargs)
        output.pooler_output = [
            own.unflatten(0, (-1, 2)).mean(1).repeat_interleave(2, 0) for own in output.pooler_output
        ]
        return output

    monkeypatch.setattr(type(model.model), "get_image_features", pooled)
    said = pytest.raises(ValueError, match="does more with the tokens behind its projector than to move them")
    with torch.no_grad(), prune(model, Loudest()) as report, said:
        model(**inputs)
    assert not report.prefills


def test_another_feature_layer_than_the_config_says_is_refused():
    model, inputs = llava(layer=-1), encode([[2, "I", 3]])
    said = pytest.raises(ValueError, match="want the 10 tokens that its tower has left, .* got 13")
    with torch.no_grad(), prune(model, Loudest((3, 0, 4))), said:
        model(**inputs, vision_feature_layer=-2)


def test_features_of_an_earlier_call_are_refused():
    """Nobody could say which of them are empty."""
    from transformers import GenerationMixin

    if not hasattr(GenerationMixin, "_expand_multimodal_outputs"):
        pytest.skip("this release takes no features")
    model, inputs = build(), encode([[2, "I", 3]])
    with torch.no_grad(), prune(model, Loudest()):
        earlier = model.model.get_image_features(inputs["pixel_values"])
        copied = type(earlier)(**dict(earlier.items()))
        rest = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        with pytest.raises(ValueError, match="want images that are encoded by this call"):
            model(**rest, mm_encoder_outputs={"image": copied})
