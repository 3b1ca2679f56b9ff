"""Before the vision tower, by either method: a batch is its rows, FLOPs are torch's, what cannot be done is refused."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters.family_checks import RAGGED, fed, generate
from tests.tokenpruner.adapters.family_inputs import core_of
from tests.tokenpruner.before_decoder.packed_pictures import QWEN, each, with_repeats
from tests.tokenpruner.conftest import build, encode, state
from tokenpruner import prepare, prune
from tokenpruner.methods.downsample import Downsample
from tokenpruner.methods.pixel_duplicates import PixelDuplicates


@pytest.mark.parametrize("name", [*QWEN, "llava"])
@pytest.mark.parametrize("method", [PixelDuplicates(), Downsample(n_keep=4)])
def test_a_batch_equals_its_rows(name, method):
    if name == "llava":
        if method.resizes:
            pytest.skip("its tower takes pictures of one size")
        model, inputs = build(), encode([[2, "I", 3], [4], ["I", 2, "I", 1]])
        inputs["pixel_values"][1] = 1.0
        inputs["pixel_values"][2, :, 4:] = inputs["pixel_values"][2, :, :4].repeat(1, 3, 1)
        alone = [{"pixel_values": inputs["pixel_values"][own]} for own in (slice(0, 1), slice(0, 0), slice(1, 3))]
    else:
        feed = fed(name)
        model, inputs = feed.model, feed.encode(RAGGED)
        inputs["pixel_values"] = with_repeats(inputs["pixel_values"])
        alone = [feed.only(inputs, RAGGED, row) if row != 1 else {} for row in range(3)]
    with torch.no_grad(), prune(model, method) as report:
        got = model(**inputs).logits
        for row, pictures in enumerate(alone):
            real = inputs["attention_mask"][row].bool()
            own = {"input_ids": inputs["input_ids"][row][real][None]}
            own |= {key: inputs[key][row][real][None] for key in inputs if key.endswith("token_type_ids")}
            own |= {key: value for key, value in pictures.items() if len(value)}
            single = model(**own).logits[0]
            torch.testing.assert_close(got[row, -len(single) :], single, rtol=0, atol=2e-4)
    assert report.visual_after < report.visual_before


@pytest.mark.parametrize("method", ["downsample:keep_ratio=1", PixelDuplicates()])
@each
def test_where_nothing_leaves_nothing_changes(name, method):
    feed = fed(name)
    inputs = feed.encode(RAGGED)
    wanted = generate(feed.model, inputs)
    with prune(feed.model, method) as report:
        assert torch.equal(generate(feed.model, inputs), wanted)
    assert report.visual_before == report.visual_after == 48


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "llava"])
@pytest.mark.parametrize("method", [PixelDuplicates(), Downsample(n_keep=4)])
def test_flops_are_those_of_tower_and_decoder(name, method, monkeypatch):
    """Against torch's own counter, in the blocks and in the layers."""
    from torch.utils.flop_counter import FlopCounterMode

    if name == "llava":
        if method.resizes:
            pytest.skip("its tower takes pictures of one size")
        model, inputs = build(attention="eager"), encode([[2, "I", 3]])
        inputs["pixel_values"][:, :, 8:] = 0.0
    else:
        feed = fed(name)
        model, inputs = feed.model, feed.encode([[2, "I", 3]])
        inputs["pixel_values"] = with_repeats(inputs["pixel_values"])
        for config in (model.config.text_config, model.config.vision_config):
            monkeypatch.setattr(config, "_attn_implementation_internal", "eager")
        if name == "qwen2_5_vl":
            visual = core_of(model).visual
            monkeypatch.setattr(visual, "window_size", 4 * visual.patch_size)

    def counted():
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            model(**inputs)
        counts = counter.get_flop_counts()
        lists = ("blocks", "layers")
        return sum(sum(counts[one].values()) for one in counts if one.rpartition(".")[0].endswith(lists))

    whole = counted()
    with prune(model, method) as report:
        left = counted()
    assert report.flops_before == whole
    assert report.flops_after == left
    assert left < 0.8 * whole


class Wrong(PixelDuplicates):
    def sources(self, cells):
        raise RuntimeError("on purpose")


def test_the_model_is_left_as_found_after_an_exception():
    for model, inputs in ((build(), encode([[2, "I", 3]])), ((feed := fed("qwen3_vl")).model, feed.encode([[2, "I"]]))):
        before = state(model)
        with torch.no_grad(), pytest.raises(RuntimeError, match="on purpose"), prune(model, Wrong()):
            model(**inputs)
        assert state(model) == before


def test_what_cannot_be_done_is_refused_with_the_way_out():
    model, inputs = build(), encode([[2, "I", 3]])
    with pytest.raises(ValueError, match="takes pictures of one size.*want a tower that takes any"):
        prune(model, "downsample").__enter__()
    with pytest.raises(ValueError, match="works inside the model.*run the model inside"):
        prepare(model, "downsample", **inputs)
    feed = fed("qwen2_vl")
    with pytest.raises(ValueError, match='positions="compact" wants one position a token'):
        prune(feed.model, "pixel_duplicates:positions=compact").__enter__()
    # InternVL: four patches are shuffled into one token, and which is not known
    feed = fed("internvl")
    words = "prune behind it|which of which is not known"
    with pytest.raises(ValueError, match=words), prune(feed.model, "pixel_duplicates"):
        feed.model(**feed.encode([[2, "I", 3]]))


# older releases take no features
@pytest.mark.newest
def test_features_that_were_made_before_are_not_known():
    feed = fed("qwen2_vl")
    inputs = feed.encode([[2, "I", 3]])
    with torch.no_grad():
        made = core_of(feed.model).get_image_features(inputs.pop("pixel_values"), inputs["image_grid_thw"])
    with prune(feed.model, "downsample"), pytest.raises(ValueError, match="did not come through the vision tower"):
        feed.model(**inputs, mm_encoder_outputs={"image": made})
