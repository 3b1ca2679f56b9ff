"""Tokens that leave inside the vision tower of a language model: the decoder gets those that are left."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.tokenpruner import vision_models as vision
from tests.tokenpruner.adapters.family_checks import fed
from tests.tokenpruner.caches import cache_from, with_cache
from tests.tokenpruner.conftest import IMAGE, N, build, encode, split
from tests.tokenpruner.vision_transformer.tower_replay import METHODS, Loudest, by_hand, encoded, llava
from tokenpruner import prepare, prune
from tokenpruner.methods.tome import ToMe
from tokenpruner.methods.zero_tprune import ZeroTPrune

ROWS = [[2, "I", 3, "I", 1], [4], [1, "I", 2]]

# rotary positions are float32, and a padded row has others
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
NOTHING = (ToMe(r=0), ZeroTPrune(keep_ratio=1.0))


@pytest.mark.parametrize("positions", ["auto", "keep"])
@pytest.mark.parametrize("layer", [-1, -2])
# r = 3 behind all blocks that count but the last of them
@pytest.mark.parametrize("method", [ToMe(r=(3, 4)), ToMe(r=3), Loudest()], ids=str)
@pytest.mark.parametrize("kind", ["clip", "dinov2"])
def test_the_decoder_gets_what_the_tower_has_left(kind, method, layer, positions):
    """Against each block in plain arithmetic, pair by pair, and the decoder run on the shorter row."""
    model, inputs = llava(kind, layer), encode(ROWS)
    if method.weighs and not vision.takes_mask(model.model.vision_tower):
        pytest.skip("blocks of this release take no mask")
    method = dataclasses.replace(method, positions=positions)
    place = "keep" if positions == "keep" else "compact"
    with torch.no_grad(), prune(model, method) as report:
        got = model(**inputs).logits
    kept = iter(report.images)
    for number, row in enumerate(split(inputs)):
        with torch.no_grad():
            wanted, columns = by_hand(model, row, method, place)
        torch.testing.assert_close(got[number, -len(wanted) :], wanted, **CLOSE)
        ids, offset = row["input_ids"][0], inputs["input_ids"].shape[1] - len(row["input_ids"][0])
        for first in (ids == IMAGE).nonzero().flatten().tolist()[::N]:
            image = next(kept)
            assert [*image.columns] == [*range(offset + first, offset + first + N)]
            assert [first + place for place in image.kept] == [c for c in columns if first <= c < first + N]


@pytest.mark.parametrize("method", NOTHING, ids=str)
def test_keeping_everything_is_bit_equal(method):
    model, inputs = build(), encode(ROWS)
    with torch.no_grad():
        whole = model(**inputs).logits
        features = encoded(model, inputs)
        with prune(model, method) as report:
            assert torch.equal(model(**inputs).logits, whole)
            assert torch.equal(encoded(model, inputs), features)
    assert report.visual_after == report.visual_before == 3 * N
    assert report.flops_after == report.flops_before


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_equals_its_rows(method, side):
    model, inputs = build(), encode(ROWS, side)
    with torch.no_grad(), prune(model, method) as report:
        batch = model(**inputs).logits
        kept = [image.kept for image in report.images]
        report.clear()
        for number, row in enumerate(split(inputs)):
            alone = model(**row).logits[0]
            torch.testing.assert_close(batch[number, -len(alone) :], alone, **CLOSE)
    assert [image.kept for image in report.images] == kept


@pytest.mark.parametrize("positions", ["compact", "keep"])
def test_generation_in_every_form(positions, expandable):
    """With a cache as without, beams as well; prepared as pruned; a second turn as replayed."""
    model, inputs = build(), encode(expandable(ROWS))
    method = ToMe(r=6, positions=positions)
    greedy = {"do_sample": False, "max_new_tokens": 4}
    n = inputs["input_ids"].shape[1]
    with torch.no_grad(), prune(model, method):
        answer = model.generate(**inputs, **greedy)
        assert torch.equal(model.generate(**inputs, **greedy, use_cache=False), answer)
        beams = model.generate(**inputs, **greedy, num_beams=2)
        assert torch.equal(model.generate(**inputs, **greedy, num_beams=2, use_cache=False), beams)
        first = model(**inputs, use_cache=True)
        more = torch.tensor([[20, 21]]).expand(len(answer), -1)
        mask = torch.cat([inputs["attention_mask"], torch.ones_like(more)], 1)
        turn = model(input_ids=more, attention_mask=mask, **with_cache(model, cache_from(first))).logits
        replayed = model(**inputs | {"input_ids": torch.cat([inputs["input_ids"], more], 1), "attention_mask": mask})
    torch.testing.assert_close(turn, replayed.logits[:, -2:], **CLOSE)
    handed = prepare(model, method, **inputs)
    assert handed["inputs_embeds"].shape[1] < n
    assert torch.equal(model.generate(**handed, **greedy), answer[:, n:])
    static = model.generate(**handed, **greedy, cache_implementation="static", disable_compile=True)
    assert torch.equal(static, answer[:, n:])


def test_gradients_reach_the_tower():
    """The same as those of the row made by hand."""
    model, inputs = llava(), encode([[2, "I", 3]])
    method = ToMe(r=(3, 4))
    weights = [*model.model.vision_tower.encoder.layers.parameters(), *model.model.multi_modal_projector.parameters()]
    wanted = torch.autograd.grad(by_hand(model, inputs, method)[0].square().sum(), weights, allow_unused=True)
    with prune(model, method):
        got = torch.autograd.grad(model(**inputs).logits.square().sum(), weights, allow_unused=True)
    for one, other in zip(got, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_features_hold_zeros_where_nothing_is_left():
    model, inputs = build(), encode([[2, "I", 3]])
    with torch.no_grad(), prune(model, Loudest()) as report:
        model(**inputs)
        rows = encoded(model, inputs)
    gone = [place for place in range(N) if place not in report.images[0].kept]
    assert rows[gone].eq(0).all()
    assert rows[list(report.images[0].kept)].ne(0).all()


def test_the_class_token_goes_along_where_the_projector_gets_it():
    """With "full" the decoder has 17 tokens an image; the class token is the first of them and stays."""
    model = build()
    model.config.vision_feature_select_strategy = "full"
    ids = torch.tensor([[7, *[IMAGE] * (N + 1), 8, 9]])
    inputs = {"input_ids": ids, "pixel_values": encode([["I"]])["pixel_values"]}
    with torch.no_grad(), prune(model, Loudest()) as report:
        model(**inputs)
    assert report.images[0].kept[0] == 0
    assert (report.visual_before, report.visual_after) == (N + 1, N + 1 - 9)


def test_the_report_counts_tower_and_decoder():
    """16 wide, MLP of 32: 17, then 12 tokens through two blocks; then what the decoder saves by itself."""
    from tokenpruner.methods.stride import Stride

    model, inputs = build(), encode([[2, "I", 3]])
    with torch.no_grad(), prune(model, Loudest()) as report:
        model(**inputs)
    with torch.no_grad(), prune(model, Stride(n_keep=7)) as decoder:
        model(**inputs)
    linear = 4 * 16 * 16 + 2 * 16 * 32
    whole = 2 * (2 * 17 * linear + 4 * 17 * 17 * 16)
    left = 2 * (17 + 12) * linear + 4 * (17**2 + 12**2) * 16
    assert report.flops_before == decoder.flops_before + whole
    assert report.flops_after == decoder.flops_after + left
    assert report.kv_bytes_after == decoder.kv_bytes_after
    assert (report.visual_before, report.visual_after, report.n_passes) == (16, 7, 1)
    assert report.prefills[0].part == "tower and decoder"
    assert report.images[0].grid == (4, 4)
    assert 0 < report.selection_ms < report.prefill_ms
    with torch.no_grad(), prune(model, Loudest()) as twice:
        for _ in range(2):
            model(**inputs)
    assert (twice.flops_before, twice.flops_after) == (2 * report.flops_before, 2 * report.flops_after)


def test_views_are_packed_as_they_were():
    """LLaVA-NeXT: each token that is left is that of the tower alone, at the place of its patch; newlines stay."""
    feed = fed("llava_next")
    model, inputs = feed.model, feed.encode([[2, "I", 3, "I", 1]])
    tower, layer = model.model.vision_tower, model.config.vision_feature_layer
    method = Loudest((20,))
    with torch.no_grad(), prune(tower, method) as alone:
        views = inputs["pixel_values"].flatten(0, 1)
        features = model.model.multi_modal_projector(
            tower(views, output_hidden_states=True).hidden_states[layer][:, 1:]
        )
    entered = []
    # the layers see what all hooks have left
    handle = model.model.language_model.layers[0].register_forward_pre_hook(
        lambda module, args: entered.append(args[0])
    )
    with torch.no_grad():
        model(**inputs)
        with prune(model, method) as report:
            model(**inputs)
    handle.remove()
    whole, left = (embeds[0] for embeds in entered)
    newline = model.model.image_newline
    ids = inputs["input_ids"][0]
    wanted = {tuple(row.tolist()) for row in features.flatten(0, 1)}
    visual = [row for row in left if tuple(row.tolist()) in wanted]
    assert len(visual) == len(wanted) == 6 * 44
    n_newlines = int((whole == newline).all(1).sum())
    assert n_newlines
    assert int((left == newline).all(1).sum()) == n_newlines
    assert len(left) == len(ids) - 6 * 20
    # the overview is one grid, the picture in detail two tiles below each other: places of the first image
    kept = [[*image.patches] for image in report.images]
    told = [[*image.kept] for image in alone.prefills[0].images]
    height, width = 8, 8
    for number, own in enumerate(kept):
        overview, *tiles = told[3 * number : 3 * number + 3]
        packed = overview + [64 + 64 * place + one for place, tile in enumerate(tiles) for one in tile]
        assert own == sorted(packed), (height, width)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_paligemma(method):
    """A tower without class token, a prompt that is seen both ways and a mask made ahead: a batch equals its rows."""
    feed = fed("paligemma")
    rows = [[2, "I", 3], ["I", 2]]
    inputs = feed.encode(rows)
    with torch.no_grad(), prune(feed.model, method) as report:
        batch = feed.model(**inputs).logits
        for number in range(2):
            own = inputs["attention_mask"][number].bool()
            alone = {name: inputs[name][number][own][None] for name in inputs if name != "pixel_values"}
            alone |= feed.only(inputs, rows, number)
            logits = feed.model(**alone).logits[0]
            torch.testing.assert_close(batch[number, -len(logits) :], logits, rtol=0, atol=2e-4)
    assert report.visual_after < report.visual_before
