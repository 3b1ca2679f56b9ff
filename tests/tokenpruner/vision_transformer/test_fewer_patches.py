"""A vision transformer that is not given patches that repeat: as if they were masked, in every kind of tower."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner import vision_models as vision
from tests.tokenpruner.conftest import state
from tokenpruner import prune
from tokenpruner.methods.downsample import Downsample
from tokenpruner.methods.pixel_duplicates import PixelDuplicates

# patches of the pictures below that stay, and for each patch the one that is seen in its place
STAYS = ([0, 1, 2, 3, 4, 12, 13, 14, 15], [0, 2], [*range(16)], [0], [0, 8])
SOURCES = ([0, 1, 2, 3, *[4] * 8, 12, 13, 14, 15], [0, 0, 2, 2] * 4, [*range(16)], [0] * 16, [0] * 8 + [8] * 8)


def repeating():
    """Pictures of 4 x 4 patches: with two plain lines, of two columns, without repeats, plain, of two rows."""
    images = vision.pixels(5)
    images[0, :, 4:12] = images[0, :, 4:8, :4].repeat(1, 2, 4)
    images[1], images[3], images[4] = -0.5, 0.5, 0.25
    images[1, :, :, 8:], images[4, :, 8:] = 1.5, -1.0
    return images


@pytest.mark.parametrize("name", vision.TOWERS + vision.HEADS)
def test_pictures_without_repeats_are_not_changed(name):
    model, images = vision.build(name), vision.pixels(2)
    with torch.no_grad():
        whole = vision.run(model, images)
        with prune(model, PixelDuplicates()) as report:
            got = vision.run(model, images)
    assert got.keys() == whole.keys()
    assert all(torch.equal(got[key], whole[key]) for key in whole)
    assert report.visual_before == report.visual_after == 32


@pytest.mark.parametrize("name", vision.TOWERS)
def test_as_if_what_repeats_were_masked(name):
    """Each picture of a batch by itself: what stays as with a mask over the others, those as what they repeat."""
    model, images, first = vision.build(name), repeating(), vision.FIRST[name]
    if not vision.takes_mask(model):
        pytest.skip("its blocks take no mask in this release")
    with torch.no_grad(), prune(model, PixelDuplicates()) as report:
        got = model(images).last_hidden_state
    assert [list(image.kept) for image in report.images] == list(STAYS)
    for picture, (stays, source) in enumerate(zip(STAYS, SOURCES, strict=True)):
        mask = torch.full((1, 1, 1, first + 16), -torch.inf, dtype=torch.float64)
        tokens = [*range(first), *(first + own for own in stays)]
        mask[..., tokens] = 0

        def masked(module, args, kwargs, mask=mask):
            return args[:1], {**kwargs, "attention_mask": mask}

        handles = [block.register_forward_pre_hook(masked, with_kwargs=True) for block in vision.blocks(model)]
        with torch.no_grad():
            wanted = model(images[picture : picture + 1]).last_hidden_state[0]
        for handle in handles:
            handle.remove()
        torch.testing.assert_close(got[picture, tokens], wanted[tokens])
        assert torch.equal(got[picture, first:], got[picture, first:][source])


@pytest.mark.parametrize("name", vision.TOWERS + vision.HEADS)
def test_a_batch_equals_its_pictures(name):
    """Poolers, class tokens and means of heads among them."""
    model, images = vision.build(name), repeating()
    with torch.no_grad(), prune(model, PixelDuplicates()):
        got = vision.run(model, images)
        alone = [vision.run(model, images[own : own + 1]) for own in range(5)]
    for key, values in got.items():
        if key not in ("text_embeds", "logits_per_image", "logits_per_text"):
            torch.testing.assert_close(values, torch.cat([own[key] for own in alone]))


def test_hidden_states_are_whole():
    model, images = vision.build("clip"), repeating()
    with torch.no_grad(), prune(model, PixelDuplicates()):
        output = model(images, output_hidden_states=True)
    assert len(output.hidden_states) == 5
    assert all(hidden.shape == (5, 17, 16) for hidden in output.hidden_states)


def test_the_report_counts_patches_and_blocks():
    from torch.utils.flop_counter import FlopCounterMode

    model, images = vision.build("vit", attention="eager"), repeating()

    def counted():
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            model(images)
        counts = counter.get_flop_counts()
        return sum(sum(counts[one].values()) for one in counts if one.rpartition(".")[2].isdigit())

    whole = counted()
    with prune(model, PixelDuplicates()) as report:
        left = counted()
    assert (report.flops_before, report.flops_after) == (whole, left)
    (prefill,) = report.prefills
    assert (prefill.tokens_before, prefill.tokens_after) == ((17,) * 5, (10, 3, 17, 2, 3))
    assert [image.grid for image in report.images] == [(4, 4)] * 5
    assert report.layers == [(85, 35)] * 4


def test_gradients_reach_the_pixels_that_were_seen():
    model, images = vision.build("vit"), repeating().requires_grad_()
    with prune(model, PixelDuplicates()):
        model(images).last_hidden_state.square().sum().backward()
    reached = images.grad.unflatten(2, (4, 4)).unflatten(4, (4, 4)).abs().sum((1, 3, 5)) > 0
    assert [own.flatten().nonzero().flatten().tolist() for own in reached] == list(STAYS)


def test_the_model_is_left_as_found():
    model, images = vision.build("dinov2"), repeating()
    before = state(model)
    with torch.no_grad():
        whole = model(images).last_hidden_state
        with prune(model, PixelDuplicates()):
            model(images)
        assert state(model) == before
        assert torch.equal(model(images).last_hidden_state, whole)


def test_what_cannot_be_done_is_refused():
    model, images = vision.build("clip", attention="eager"), repeating()
    with pytest.raises(ValueError, match="takes pictures of one size, which cannot be scaled down: want a tower"):
        prune(model, Downsample()).__enter__()
    with prune(model, PixelDuplicates()):
        with pytest.raises(ValueError, match="want return_dict=True"):
            model(images, return_dict=False)
        with pytest.raises(ValueError, match="want no output_attentions"):
            model(images, output_attentions=True)
