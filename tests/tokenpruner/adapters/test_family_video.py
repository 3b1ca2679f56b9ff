"""Videos, alone, beside images and in one batch with text, in families that take them apart from images."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from tests.tokenpruner.adapters.family_checks import by_hand, close, fed, generate
from tests.tokenpruner.adapters.family_inputs import Feed, Tensors, core_of
from tests.tokenpruner.adapters.tiny_config import IMAGE_TOKEN
from tokenpruner import prepare, prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.stride import Stride

VIDEO = IMAGE_TOKEN + 1
ROWS: list[Sequence[int | str]] = [[2, "V", 3], [4], ["I", 2, "V", 1]]
# older releases hand the features of LLaVA's videos over in other shapes
newest = [pytest.param(name, marks=pytest.mark.newest) for name in ("llava_onevision", "video_llava")]
each = pytest.mark.parametrize("name", [*newest, "qwen2_5_vl", "qwen2_vl"])


def clips(feed: Feed, count: int, generator: torch.Generator) -> Tensors:
    """Videos of two steps in time, as the family takes them."""
    if feed.layout == "patches":
        flat = torch.randn(2 * 64 * count, feed.pictures([1])["pixel_values"].shape[1], generator=generator)
        return {"pixel_values_videos": flat, "video_grid_thw": torch.tensor([[2, 8, 8]] * count)}
    frames = 8 if type(feed.model).__name__.startswith("VideoLlava") else 2
    return {"pixel_values_videos": torch.randn(count, frames, 3, 64, 64, generator=generator)}


@torch.no_grad()
def length(feed: Feed, clip: Tensors) -> int:
    """How many tokens one video is."""
    made = core_of(feed.model).get_video_features(**clip)
    features = made.pooler_output
    features = torch.cat(list(features)) if isinstance(features, list | tuple) else features
    return features.numel() // features.shape[-1]


def encode(feed: Feed, rows: Sequence[Sequence[int | str]], seed: int = 3) -> Tensors:
    """Rows of text, images and videos, filled up on the left; the same videos and images for the same rows."""
    generator = torch.Generator().manual_seed(seed)
    counts = [sum(part == kind for row in rows for part in row) for kind in ("I", "V")]
    inputs: Tensors = feed.pictures([counts[0]]) if counts[0] else {}
    if counts[1]:
        video = clips(feed, counts[1], generator)
        inputs |= video
        size = length(feed, clips(feed, 1, generator))
    ids = []
    for row in rows:
        parts = [
            [IMAGE_TOKEN] * feed.size if part == "I" else [VIDEO] * size if part == "V" else [*range(9, 9 + int(part))]
            for part in row
        ]
        ids.append(torch.tensor([token for part in parts for token in part]))
    longest = max(map(len, ids))
    padded = torch.stack([torch.cat([own.new_zeros(longest - len(own)), own]) for own in ids])
    inputs |= {"input_ids": padded, "attention_mask": (padded > 0).long()}
    marks = (padded == IMAGE_TOKEN).long() + 2 * (padded == VIDEO).long()
    return inputs | {name: marks for name in feed.types(inputs)}


@each
def test_keeping_everything_is_bit_equal(name):
    feed = fed(name)
    inputs = encode(feed, ROWS)
    wanted = generate(feed.model, inputs)
    with prune(feed.model, Stride(keep_ratio=1.0)) as report:
        assert torch.equal(generate(feed.model, inputs), wanted)
    # tokens that end a line of patches, or a video, are not counted
    assert 0.9 * (inputs["input_ids"] >= IMAGE_TOKEN).sum() < report.visual_before == report.visual_after


@each
def test_equals_the_sequence_cut_by_hand(name):
    """A video behind an image: each keeps its own tokens, positions in time among them."""
    feed = fed(name)
    inputs = encode(feed, [[2, "I", 1, "V", 3]])
    visual = (inputs["input_ids"][0] >= IMAGE_TOKEN).nonzero().flatten()
    for got, wanted in by_hand(feed, inputs, [DivPrune(keep_ratio=0.25), Stride(keep_ratio=0.6)], visual):
        close(got, wanted)


@each
def test_a_batch_equals_its_rows_and_decodes_as_it_recomputes(name):
    feed = fed(name)
    method = DivPrune(keep_ratio=0.25)
    inputs = encode(feed, ROWS)
    with prune(feed.model, method) as report:
        together = generate(feed.model, inputs)
        close(together, generate(feed.model, inputs, use_cache=False))
        for number in range(len(ROWS)):
            close(together[number : number + 1], generate(feed.model, alone(inputs, number)))
    assert report.visual_after < report.visual_before


def alone(inputs: Tensors, number: int) -> Tensors:
    """One of the rows of `ROWS` without padding: the first has the first video, the last the image and the other."""
    real = inputs["attention_mask"][number].bool()
    found: Tensors = {}
    for name, value in inputs.items():
        if value.shape == inputs["input_ids"].shape:
            found[name] = value[number][real][None]
        elif "video" in name and number != 1:
            half = len(value) // 2
            found[name] = value[:half] if number == 0 else value[half:]
        elif "video" not in name and number == 2:
            found[name] = value
    return found


def test_planes_of_images_and_videos_stay_in_order():
    """Qwen3-VL's planes hold the features of both, in the order of their tokens; each frame of a video is a run."""
    feed = fed("qwen3_vl")
    inputs = encode(feed, [[2, "I", 1, "V", 3]])
    # its videos have text between their frames
    ids = inputs["input_ids"][0]
    start = int((ids == VIDEO).nonzero()[0])
    ids = torch.cat([ids[: start + 16], torch.tensor([33, 34]), ids[start + 16 :]])[None]
    inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    inputs["mm_token_type_ids"] = (ids == IMAGE_TOKEN).long() + 2 * (ids == VIDEO).long()
    visual = (ids[0] >= IMAGE_TOKEN).nonzero().flatten()
    for got, wanted in by_hand(feed, inputs, [DivPrune(keep_ratio=0.25), Stride(keep_ratio=0.6)], visual):
        close(got, wanted)


@each
def test_prepare_equals_prune(name):
    feed = fed(name)
    method = DivPrune(keep_ratio=0.25)
    inputs = encode(feed, ROWS)
    with prune(feed.model, method):
        wanted = generate(feed.model, inputs)
    close(generate(feed.model, prepare(feed.model, method, **inputs)), wanted)
