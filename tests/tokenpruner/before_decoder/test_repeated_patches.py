"""Patches that repeat never enter the tower: the others are as if alone, and stay at their places."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters.family_checks import Spy, close, fed
from tests.tokenpruner.adapters.family_inputs import core_of
from tests.tokenpruner.before_decoder.packed_pictures import LINES, each, with_repeats
from tests.tokenpruner.conftest import build, encode
from tokenpruner import prune
from tokenpruner.methods.pixel_duplicates import PixelDuplicates


@torch.no_grad()
def seen_alone(visual, patches, cells, windows=None):
    """The features that a tower makes of the `cells` of one picture of 4 x 4 cells, block by block; [n, D].

    `windows` are the windows that cells lie in, for blocks that look no further.
    """
    from transformers.vision_utils import get_vision_position_ids

    grid = torch.tensor([[1, 8, 8]])
    rows = torch.tensor([4 * cell + inside for cell in cells for inside in range(4)])
    hidden = visual.patch_embed(patches)[rows]
    if hasattr(visual, "pos_embed"):
        from transformers.vision_utils import get_vision_interpolation_indices_and_weights

        settings = {"mode": visual.interpolation_mode, "align_corners": visual.interpolation_align_corners}
        places, weights = get_vision_interpolation_indices_and_weights(
            grid, num_grid_per_side=visual.num_grid_per_side, spatial_merge_size=2, **settings
        )
        hidden = hidden + (visual.pos_embed(places) * weights[:, :, None]).sum(1)[rows]
    turns = visual.rotary_pos_emb(hidden, get_vision_position_ids(grid, 2)[rows])
    n, full = len(rows), getattr(visual, "fullatt_block_indexes", range(99))
    for number, block in enumerate(visual.blocks):
        ends, order = torch.tensor([0, n], dtype=torch.int32), torch.arange(n)
        if number not in full:
            own = torch.tensor([windows[cell] for cell in cells]).repeat_interleave(4)
            order = own.argsort(stable=True)
            ends = torch.tensor([0, *own.unique(return_counts=True)[1].cumsum(0)], dtype=torch.int32)
        cut = tuple(each[order] for each in turns)
        made = block(hidden[order], cu_seqlens=ends, max_seqlen=None, position_embeddings=cut)
        hidden = made[order.argsort()]
    return visual.merger(hidden)


# the tower by hand as the newest releases have it
@pytest.mark.newest
@each
def test_patches_that_repeat_are_not_seen(name, monkeypatch):
    """Those that are, are as if the picture had no others; the others have the features of what they repeat."""
    feed = fed(name)
    core, inputs = core_of(feed.model), feed.encode([["I", "I", "I"]])
    patches = with_repeats(inputs["pixel_values"])
    windows = None
    if hasattr(core.visual, "window_size"):
        # windows of 2 x 2 cells
        monkeypatch.setattr(core.visual, "window_size", 4 * core.visual.patch_size)
        windows = [cell // 8 * 2 + cell % 4 // 2 for cell in range(16)]
    with torch.no_grad(), prune(feed.model, PixelDuplicates()):
        found = core.get_image_features(patches, inputs["image_grid_thw"]).pooler_output
    stays = (LINES, [0], [*range(16)])
    sources = ([0, 1, 2, 3, *[4] * 8, 12, 13, 14, 15], [0] * 16, [*range(16)])
    for own, cells, source, pixels in zip(found, stays, sources, patches.split(64), strict=True):
        close(own[cells], seen_alone(core.visual, pixels, cells, windows))
        assert torch.equal(own, own[source])


@each
def test_only_seen_patches_enter_and_at_their_places(name):
    feed = fed(name)
    inputs = feed.encode([[2, "I", 1, "I", 3]])
    inputs["pixel_values"] = with_repeats(inputs["pixel_values"])
    with torch.no_grad(), Spy(feed.model) as plain:
        feed.model(**inputs)
    with torch.no_grad(), Spy(feed.model) as spied, prune(feed.model, PixelDuplicates()) as report:
        feed.model(**inputs)
        features = core_of(feed.model).get_image_features(inputs["pixel_values"], inputs["image_grid_thw"])
    kept = [0, 1, *(2 + own for own in LINES), 18, 19, *range(35, 38)]
    assert torch.equal(spied.kwargs["position_ids"], plain.kwargs["position_ids"][..., kept])
    entered = torch.cat([features.pooler_output[0][LINES], features.pooler_output[1][:1]])
    assert torch.equal(spied.kwargs["inputs_embeds"][0, [*range(2, 11), 12]], entered)
    assert [image.kept for image in report.images] == [tuple(LINES), (0,)]
    if name == "qwen3_vl":
        levels = features.deepstack_features
        # by picture in newer releases
        planes = [own if isinstance(own, torch.Tensor) else torch.cat(own) for own in levels]
        planes = [own[[*LINES, 16]] for own in planes]
        for got, want in zip(spied.kwargs["deepstack_visual_embeds"], planes, strict=True):
            assert torch.equal(got, want)


def test_a_tower_of_one_grid_sees_each_patch_at_its_place():
    """LLaVA: the embeddings of the patches that stay, with their own positions, through the tower's layers."""
    model, inputs = build(), encode([[2, "I", 3], ["I", 1]])
    pixels = inputs["pixel_values"]
    pixels[0, :, 4:12] = pixels[0, :, 4:8, :4].repeat(1, 2, 4)
    stays = [0, 1, 2, 3, 4, 12, 13, 14, 15]
    tower = model.model.vision_tower
    core = getattr(tower, "vision_model", tower)
    with torch.no_grad():
        whole = model.model.get_image_features(pixels).pooler_output
        hidden = core.embeddings(pixels[:1])[:, [0, *(1 + own for own in stays)]]
        hidden = core.pre_layrnorm(hidden)
        for layer in core.encoder.layers:
            hidden = layer(hidden, None)
        wanted = model.model.multi_modal_projector(hidden[:, 1:])[0]
        with prune(model, PixelDuplicates()) as report, Spy(model) as spied:
            found = model.model.get_image_features(pixels).pooler_output
            model(**inputs)
    torch.testing.assert_close(found[0][stays], wanted)
    assert torch.equal(found[0][5:12], found[0][4:5].expand(7, -1))
    torch.testing.assert_close(found[1], whole[1])
    assert [len(image.kept) for image in report.images] == [9, 16]
    torch.testing.assert_close(spied.kwargs["inputs_embeds"][0, -12:-3], wanted)
    assert report.method == "pixel_duplicates:positions=compact"


def test_views_of_a_cut_up_picture_leave_by_themselves():
    """LLaVA-NeXT: patches of an overview and of tiles, packed into lines that end with a newline."""
    feed = fed("llava_next")
    inputs = feed.encode([[2, "I", 3]])
    inputs["pixel_values"][:, 0] = 1.0
    with torch.no_grad(), prune(feed.model, PixelDuplicates()) as report:
        feed.model(**inputs)
    (image,) = report.images
    overview = image.views[0][0] * image.views[0][1]
    # of the plain overview one patch is left, of the others all, and newlines stay
    assert len(image.kept) == image.size - overview + 1
    assert image.kept[0] == 0


def test_gradients_reach_the_tower_through_what_it_saw():
    feed = fed("qwen2_vl")
    inputs = feed.encode([[2, "I", 3]])
    inputs["pixel_values"] = with_repeats(inputs["pixel_values"]).requires_grad_()
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] == feed.token, -100)
    with prune(feed.model, PixelDuplicates()):
        feed.model(**inputs, labels=labels).loss.backward()
    reached = inputs["pixel_values"].grad.view(16, -1).abs().sum(1) > 0
    assert reached.nonzero().flatten().tolist() == LINES
    feed.model.zero_grad()
