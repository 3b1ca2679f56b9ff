"""Downsampling before the tower: the model says what it would of a smaller picture."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters.family_checks import RAGGED, Spy, close, fed, generate
from tests.tokenpruner.adapters.family_inputs import core_of
from tests.tokenpruner.adapters.test_family_video import encode as encode_videos
from tests.tokenpruner.adapters.tiny_config import IMAGE_TOKEN
from tests.tokenpruner.before_decoder.packed_pictures import QWEN, each
from tests.tokenpruner.caches import cache_from, with_cache
from tokenpruner import prune
from tokenpruner.vision_transformer.cells import PatchShape, scaled

VIDEO = IMAGE_TOKEN + 1


def smaller(feed, inputs, sides):
    """What a processor makes of the same pictures at `sides` cells: fewer patches, fewer placeholders."""
    made = dict(inputs)
    embed = next(own.patch_embed for own in feed.model.modules() if hasattr(own, "patch_embed"))
    shape = PatchShape(embed.in_channels, embed.temporal_patch_size, embed.patch_size, 2)
    n_tokens = {}
    for pixels, grids, token in (
        ("pixel_values", "image_grid_thw", feed.token),
        ("pixel_values_videos", "video_grid_thw", VIDEO),
    ):
        if pixels not in inputs:
            continue
        parts = inputs[pixels].split(inputs[grids].prod(1).tolist())
        frames = [int(own[0]) for own in inputs[grids]]
        made[pixels] = torch.cat([scaled(own, n, (4, 4), sides, shape) for own, n in zip(parts, frames, strict=True)])
        made[grids] = torch.tensor([[n, 2 * sides[0], 2 * sides[1]] for n in frames])
        n_tokens[token] = (16 * frames[0], frames[0] * sides[0] * sides[1])
    rows = []
    for ids, mask in zip(inputs["input_ids"].tolist(), inputs["attention_mask"].tolist(), strict=True):
        own, seen = [], {}
        for token in (token for token, is_real in zip(ids, mask, strict=True) if is_real):
            number = seen[token] = seen.get(token, -1) + 1
            full, few = n_tokens.get(token, (1, 1))
            if number % full < few:
                own.append(token)
        rows.append(own)
    longest = max(map(len, rows))
    made["input_ids"] = torch.tensor([[0] * (longest - len(own)) + own for own in rows])
    made["attention_mask"] = torch.tensor([[0] * (longest - len(own)) + [1] * len(own) for own in rows])
    marks = (made["input_ids"] == feed.token).long() + 2 * (made["input_ids"] == VIDEO).long()
    return made | {key: marks for key in inputs if key.endswith("token_type_ids")}


# of the last the tiny model numbers pictures like text
others = [pytest.param(name, marks=pytest.mark.newest) for name in ("glm4v", "qwen2_5_omni_thinker")]


@pytest.mark.parametrize("name", [*QWEN, *others])
@pytest.mark.parametrize("side", ["left", "right"])
def test_downsample_is_a_smaller_picture(name, side):
    """Logits of the tokens that are left, rows of a ragged batch, several pictures a row: as if it had been smaller."""
    feed = fed(name)
    inputs = feed.encode(RAGGED, side)
    wanted = smaller(feed, inputs, (2, 2))
    with torch.no_grad():
        whole = feed.model(**wanted).logits
        with prune(feed.model, "downsample:keep_ratio=0.3") as report:
            got = feed.model(**inputs).logits
    real = wanted["attention_mask"].bool()
    close(got[real], whole[real])
    assert [len(image.kept) for image in report.images] == [4, 4, 4]
    assert report.images[0].kept == (5, 7, 13, 15)
    assert report.method == "downsample:keep_ratio=0.3,positions=compact"


@each
def test_what_is_said_of_a_smaller_picture_is_the_same(name):
    """Generation: positions of new tokens follow on those of the smaller picture."""
    feed = fed(name)
    inputs = feed.encode([[2, "I", 3], ["I", 1, "I", 2]])
    wanted = generate(feed.model, smaller(feed, inputs, (3, 3)))
    with prune(feed.model, "downsample:n_keep=9"):
        close(generate(feed.model, inputs), wanted)
        close(generate(feed.model, inputs, use_cache=False), wanted)


def test_a_second_turn_on_a_smaller_picture():
    feed = fed("qwen2_vl")
    inputs = feed.encode([[2, "I", 3]])
    few = smaller(feed, inputs, (2, 2))
    more = torch.tensor([[20, 21, 22]])
    found = []
    for given, method in ((few, "downsample:keep_ratio=1"), (inputs, "downsample:n_keep=4")):
        with torch.no_grad(), prune(feed.model, method):
            first = feed.model(**given, use_cache=True)
            ids = torch.cat([given["input_ids"], more], 1)
            turn = {"input_ids": more, "attention_mask": torch.ones_like(ids)}
            cache = cache_from(first)
            length = cache.get_seq_length()
            position = core_of(feed.model).rope_deltas + torch.arange(length, length + 3)[None]
            turn["position_ids"] = position.expand(3, 1, 3)
            found.append(feed.model(**turn, **with_cache(feed.model, cache)).logits)
    close(found[1], found[0])


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl"])
def test_frames_of_a_video_are_scaled_each(name):
    """Time stays, and what follows counts on from the sides of a frame."""
    feed = fed(name)
    inputs = encode_videos(feed, [[2, "V", 3], [4], ["I", 2, "V", 1]])
    wanted = smaller(feed, inputs, (2, 2))
    with torch.no_grad():
        whole = feed.model(**wanted).logits
        with prune(feed.model, "downsample:n_keep=4") as report:
            got = feed.model(**inputs).logits
    real = wanted["attention_mask"].bool()
    close(got[real], whole[real])
    assert [len(image.kept) for image in report.images] == [4] * 5


def test_a_small_picture_may_stand_where_the_large_one_did():
    feed = fed("qwen2_vl")
    inputs = feed.encode([[2, "I", 3]])
    with torch.no_grad(), Spy(feed.model) as plain:
        feed.model(**inputs)
    with torch.no_grad(), Spy(feed.model) as spied, prune(feed.model, "downsample:n_keep=4,positions=keep"):
        feed.model(**inputs)
    kept = [0, 1, *(2 + own for own in (5, 7, 13, 15)), 18, 19, 20]
    assert torch.equal(spied.kwargs["position_ids"], plain.kwargs["position_ids"][..., kept])
