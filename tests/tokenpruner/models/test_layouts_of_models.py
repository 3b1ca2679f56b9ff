"""Frames, grids and newline tokens, seen by methods through real models."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch

from tests.tokenpruner.adapters import families
from tokenpruner import Context, Method, prepare, prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.random import Random
from tokenpruner.methods.stride import Stride

# the placeholders of the tiny models
IMAGE, VIDEO = 150, 151


@dataclasses.dataclass(frozen=True)
class Spy(Method):
    """Keeps the first tokens, and all that it was shown."""

    keep_ratio: float = 0.25
    needs = frozenset({"text"})

    def keep(self, context: Context, n: int) -> torch.Tensor:
        SEEN.append(context)
        return torch.arange(n)


SEEN: list[Context] = []


@pytest.fixture
def seen():
    SEEN.clear()
    return SEEN


def encode(model, rows, pixels):
    """Rows of text ids and counted placeholders, such as [3, (IMAGE, 20), 4], padded on the left."""
    generator, prompts = torch.Generator().manual_seed(4), []
    for row in rows:
        parts = [
            [part[0]] * part[1] if isinstance(part, tuple) else torch.randint(6, 140, (part,), generator=generator)
            for part in row
        ]
        prompts.append(torch.cat([torch.as_tensor(part) for part in parts]))
    length = max(map(len, prompts))
    ids = torch.stack([torch.cat([torch.zeros(length - len(own), dtype=torch.int64), own]) for own in prompts])
    mask = (ids > 0).long()
    kinds = torch.zeros_like(ids) + (ids == IMAGE).long() + 2 * (ids == VIDEO).long()
    marks = {"mm_token_type_ids": kinds} if "mm_token_type_ids" in inspect.signature(model.forward).parameters else {}
    return {"input_ids": ids, "attention_mask": mask, **pixels, **marks}


def next_inputs(model):
    """Two pictures of LLaVA-NeXT: 8 x 8 patches in overview, 16 x 8 and 8 x 16 in detail."""
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randn(2, 3, 3, 64, 64, generator=generator)
    sizes = torch.tensor([[128, 64], [64, 128]])
    own = {"pixel_values": pixels, "image_sizes": sizes}
    return encode(model, [[3, (IMAGE, 64 + 16 * 9), 4], [2, (IMAGE, 64 + 8 * 17), 5]], own)


@pytest.mark.parametrize("name", ["llava_next", "llava_onevision"])
@pytest.mark.parametrize(
    ("newlines", "wide", "n_patches"),
    # ceil(208 / 4) and ceil(200 / 4) of all tokens, with 16 and 8 newlines
    [("compete", 1, None), ("keep", 0, (52 - 16, 50 - 8)), ("drop", 0, (52, 50))],
)
def test_newlines_of_cut_up_images(name, newlines, wide, n_patches, seen):
    """As many tokens enter as are asked for, whatever becomes of the newlines."""
    model = families.build(name)
    inputs = next_inputs(model)
    with torch.no_grad(), prune(model, Spy(newlines=newlines)) as report:
        model(**inputs)
    first, second = report.images
    assert [context.views for context in seen] == [((8, 8), (16, 8 + wide)), ((8, 8), (8, 16 + wide))]
    assert [context.grid for context in seen] == [None, None]
    assert (first.size, second.size) == (208, 200)
    assert (len(first.kept), len(second.kept)) == (52, 50)
    assert report.prefills[0].tokens_after == (52 + 7, 50 + 7)
    if n_patches:
        assert (len(first.patches), len(second.patches)) == n_patches
    # text is what is no placeholder: 7 tokens a row
    assert [len(context.text) for context in seen] == [7, 7]
    # behind padding of 0 and 8: lines of 8 patches, then a newline
    assert (first.columns, second.columns) == (range(3, 3 + 208), range(10, 10 + 200))
    assert first.newlines == tuple(64 + 9 * line + 8 for line in range(16))
    assert second.newlines == tuple(64 + 17 * line + 16 for line in range(8))


def test_too_few_tokens_for_the_newlines_that_stay():
    model = families.build("llava_next")
    for method in (Stride(n_keep=16, newlines="keep"), FastV(keep_ratio=0.05, layer=1, newlines="keep")):
        with (
            prune(model, method),
            pytest.raises(ValueError, match="image 0 of row 0 has 16 newline tokens: want more than those"),
        ):
            model(**next_inputs(model))


@pytest.mark.parametrize("newlines", ["compete", "keep", "drop"])
def test_newlines_inside_the_decoder(newlines):
    model = families.build("llava_next")
    inputs = next_inputs(model)
    with torch.no_grad(), prune(model, FastV(keep_ratio=0.25, layer=1, newlines=newlines)) as report:
        model(**inputs)
    first, second = report.images
    assert (len(first.kept), len(second.kept)) == (52, 50)
    assert report.prefills[0].tokens_after == (52 + 7, 50 + 7)
    kept = [{*image.kept} & {*image.newlines} for image in (first, second)]
    assert newlines == "compete" or [len(own) for own in kept] == ([16, 8] if newlines == "keep" else [0, 0])


@pytest.mark.parametrize(
    "method",
    [
        Stride(n_keep=30, positions="keep"),
        Random(keep_ratio=0.2, newlines="keep", positions="keep"),
        DivPrune(n_keep_row=12, newlines="drop", positions="keep"),
    ],
)
def test_the_pruned_sequence_of_llava_next_by_hand(method):
    """Against the decoder run on the tokens that stay, gathered here."""
    model = families.build("llava_next")
    whole = next_inputs(model)
    inputs = {name: value[1:] for name, value in whole.items()}
    inputs = {
        name: value[:, 8:] if name in ("input_ids", "attention_mask") else value for name, value in inputs.items()
    }
    grabbed = []
    handle = model.model.language_model.register_forward_pre_hook(
        lambda _, __, kwargs: grabbed.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    with torch.no_grad():
        model(**inputs)
        handle.remove()
        with prune(model, method) as report:
            got = model(**inputs).logits[0]
    (image,) = report.images
    stays = [0, 1, *(image.columns[place] for place in image.kept), *range(202, 207)]
    assert len(stays) == 7 + method.counts([200])[0]
    causal = torch.zeros(len(stays), len(stays)).masked_fill(~torch.ones(len(stays), len(stays)).bool().tril(), -1e30)
    with torch.no_grad():
        hidden = model.model.language_model(
            inputs_embeds=grabbed[0][:, stays], attention_mask=causal[None, None], position_ids=torch.tensor([stays])
        ).last_hidden_state
        wanted = model.lm_head(hidden)[0]
    assert len(got) == len(stays)
    torch.testing.assert_close(got, wanted, rtol=0, atol=2e-4)


def test_beams_and_single_calls_know_the_same_grids(seen):
    model = families.build("llava_next")
    inputs = next_inputs(model)
    kind = {"do_sample": False, "max_new_tokens": 2, "num_beams": 2}
    with prune(model, Spy()):
        model.generate(**inputs, **kind)
    views = [context.views for context in seen]
    assert set(views[:2]) <= {((8, 8), (16, 9)), ((8, 8), (8, 17))}
    assert all(views)


def qwen_inputs(model):
    """Row 0: a picture of 8 x 4 patches and a video of 2 frames of 4 x 8; row 1: a video of 3 frames of 4 x 4."""
    generator = torch.Generator().manual_seed(2)
    grids = {"image_grid_thw": torch.tensor([[1, 8, 4]]), "video_grid_thw": torch.tensor([[2, 4, 8], [3, 4, 4]])}
    vision = model.config.vision_config
    width = getattr(vision, "in_channels", 3) * vision.temporal_patch_size * vision.patch_size**2
    own = {
        "pixel_values": torch.randn(32, width, generator=generator),
        "pixel_values_videos": torch.randn(64 + 48, width, generator=generator),
    }
    rows = [[2, (IMAGE, 8), 1, (VIDEO, 16), 3], [4, (VIDEO, 12), 2]]
    return encode(model, rows, own | grids)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen2_vl"])
def test_frames_and_grids_of_qwen(name, seen):
    model = families.build(name)
    inputs = qwen_inputs(model)
    places = [(0, 0, 0, (4, 2)), (0, 1, 0, (2, 4)), (0, 1, 1, (2, 4)), *[(1, 0, frame, (2, 2)) for frame in range(3)]]
    with torch.no_grad(), prune(model, Spy(keep_ratio=0.5)) as report:
        model(**inputs)
    assert [(own.row, own.image, own.frame, own.grid) for own in seen] == places
    assert [(own.row, own.image, own.frame, own.grid) for own in report.images] == places
    assert [own.columns for own in report.images[1:3]] == [range(11, 19), range(19, 27)]
    assert report.prefills[0].tokens_after == (6 + 4 + 8, 6 + 6)
    seen.clear()
    with prune(model, Spy(n_keep_row=9)) as report:
        model.generate(**inputs, do_sample=False, max_new_tokens=2)
    # 9 shared out over 8 + 8 + 8 tokens, and over 4 + 4 + 4
    assert [len(own.kept) for own in report.images] == [3, 3, 3, 3, 3, 3]
    assert [(own.row, own.image, own.frame, own.grid) for own in seen] == places


def test_videos_that_are_encoded_like_images(seen):
    """Qwen3-VL's method for videos calls the one for images; frames stand apart, with text between them."""
    model = families.build("qwen3_vl")
    inputs = qwen_inputs(model)
    rows = [[2, (IMAGE, 8), 1, (VIDEO, 8), 2, (VIDEO, 8), 3], [4, (VIDEO, 4), 1, (VIDEO, 4), 1, (VIDEO, 4), 2]]
    pixels = {name: value for name, value in inputs.items() if name.startswith(("pixel", "image", "video"))}
    with torch.no_grad(), prune(model, Spy()) as report:
        model(**encode(model, rows, pixels))
    places = [(0, 0, 0, (4, 2)), (0, 1, 0, (2, 4)), (0, 1, 1, (2, 4)), *[(1, 0, frame, (2, 2)) for frame in range(3)]]
    assert [(own.row, own.image, own.frame, own.grid) for own in report.images] == places


# older releases hand their features over in other shapes
@pytest.mark.newest
@pytest.mark.parametrize(("name", "n_newlines"), [("llava_onevision", 1), ("llava_next_video", 0)])
def test_frames_of_llava_videos(name, n_newlines, seen):
    model = families.build(name)
    clip = torch.randn(2, 3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    # 8 x 8 patches a frame, pooled to 4 x 4
    n_frame, size = 16, 3 * 16 + n_newlines
    inputs = encode(model, [[2, (VIDEO, size), 3], [4, (VIDEO, size), 1]], {"pixel_values_videos": clip})
    with torch.no_grad(), prune(model, Spy()) as report:
        model(**inputs)
    # the newline of a video is the last token of its last frame
    assert [(own.row, own.image, own.frame, own.size) for own in report.images] == [
        (row, 0, frame, n_frame + n_newlines * (frame == 2)) for row in (0, 1) for frame in range(3)
    ]
    last = ((4, 4), (1, 1)) if n_newlines else (4, 4)
    assert [own.views or own.grid for own in seen] == [(4, 4), (4, 4), last] * 2
    n_kept = 2 * 4 + -(-(n_frame + n_newlines) // 4)
    assert report.prefills[0].tokens_after == (n_kept + 5,) * 2
    seen.clear()
    with prune(model, Spy()) as report:
        model.generate(**inputs, do_sample=False, max_new_tokens=2, num_beams=2)
    assert [own.frame for own in seen] == [0, 1, 2] * 4


def test_random_draws_each_frame_anew():
    draws = {tuple(Random().select(Context(torch.zeros(16, 2), frame=frame)).tolist()) for frame in range(4)}
    assert len(draws) == 4


def test_both_forms_keep_as_many_tokens():
    model = families.build("llava_next")
    inputs = next_inputs(model)
    with torch.no_grad():
        with prune(model, Stride(n_keep=9)):
            wanted = model(**inputs).logits[:, -1]
        prepared = prepare(model, Stride(n_keep=9), **inputs)
        assert prepared["attention_mask"].sum(1).tolist() == [9 + 7, 9 + 7]
        torch.testing.assert_close(model(**prepared).logits[:, -1], wanted, rtol=0, atol=2e-4)
