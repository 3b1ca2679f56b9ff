"""Before the vision tower of a language model: a smaller picture is a smaller picture, a repeated patch is not seen."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters.family_checks import RAGGED, Spy, close, fed, generate
from tests.tokenpruner.adapters.family_inputs import core_of
from tests.tokenpruner.adapters.test_family_video import encode as encode_videos
from tests.tokenpruner.adapters.tiny_config import IMAGE_TOKEN
from tests.tokenpruner.caches import cache_from, with_cache
from tests.tokenpruner.conftest import build, encode, state
from tokenpruner import prepare, prune
from tokenpruner.methods.downsample import Downsample
from tokenpruner.methods.pixel_duplicates import PixelDuplicates
from tokenpruner.vision_transformer.cells import PatchShape, scaled

QWEN = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
each = pytest.mark.parametrize("name", QWEN)
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


# of a picture whose lines 1 and 2 are plain: the cells that the tower sees
LINES = [0, 1, 2, 3, 4, 12, 13, 14, 15]


def with_repeats(pixels):
    """Packed pictures of 4 x 4 cells: in the first the lines 1 and 2 are plain, the second is plain as a whole."""
    cells = pixels.clone().view(-1, 16, 4, pixels.shape[1])
    cells[0, 4:12] = cells[0, 4:5]
    if len(cells) > 1:
        cells[1] = cells[1, :1]
    return cells.view_as(pixels)


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


@pytest.mark.parametrize("method", ["downsample:keep_ratio=1", PixelDuplicates()])
@each
def test_where_nothing_leaves_nothing_changes(name, method):
    feed = fed(name)
    inputs = feed.encode(RAGGED)
    wanted = generate(feed.model, inputs)
    with prune(feed.model, method) as report:
        assert torch.equal(generate(feed.model, inputs), wanted)
    assert report.visual_before == report.visual_after == 48


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
