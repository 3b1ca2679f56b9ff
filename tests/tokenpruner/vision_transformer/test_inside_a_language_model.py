"""Tokens that leave inside the vision tower of a language model: the decoder gets those that are left."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import torch
from torch import nn

from tests.tokenpruner import vision_models as vision
from tests.tokenpruner.adapters import families
from tests.tokenpruner.adapters.family_checks import fed
from tests.tokenpruner.caches import cache_from, with_cache
from tests.tokenpruner.conftest import IMAGE, N, build, encode, split, state
from tests.tokenpruner.methods.test_tome import merge
from tokenpruner import BlockContext, BlockMethod, prepare, prune
from tokenpruner.methods.random_patches import RandomPatches
from tokenpruner.methods.tome import ToMe
from tokenpruner.methods.zero_tprune import ZeroTPrune
from tokenpruner.models import projected_towers

ROWS = [[2, "I", 3, "I", 1], [4], [1, "I", 2]]
METHODS = (ToMe(r=3), ZeroTPrune(keep_ratio=0.3), RandomPatches(keep_ratio=0.5))
# rotary positions are float32, and a padded row has others
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
NOTHING = (ToMe(r=0), ZeroTPrune(keep_ratio=1.0))


@dataclasses.dataclass(frozen=True)
class Loudest(BlockMethod):
    """Keeps the patches of the largest norm: `counts` go behind each of the first blocks."""

    counts: tuple[int, ...] = (5, 4)
    reads = frozenset({"keys"})

    def removals(self, n_patches, n_blocks):
        if n_blocks < len(self.counts):
            raise ValueError(f"want {len(self.counts)} blocks, got {n_blocks}")
        return list(self.counts)

    def importance(self, context: BlockContext) -> torch.Tensor:
        return context.hidden[:, context.protected :].float().norm(dim=-1)


def tower_by_hand(model, image, method, n_blocks):
    """Features [M, D] of one picture behind the projector, block by block, and the patches at whose places they are."""
    tower, first = model.model.vision_tower, 1
    hidden = vision.entered(tower, image[None])[0]
    sizes, places = torch.ones(len(hidden), dtype=torch.float64), list(range(len(hidden)))
    counts = method.removals(N, n_blocks)
    for number, block in enumerate(vision.blocks(tower)[:n_blocks]):
        hidden, _, keys = vision.worked(block, hidden, sizes)
        gone = counts[number] if number < len(counts) else 0
        if gone and isinstance(method, ToMe):
            hidden, sizes, stand = merge(hidden, keys, sizes, gone, first)
            places = [places[i] for i in stand]
        elif gone:
            order = sorted(range(first, len(hidden)), key=lambda i, h=hidden: float(h[i].norm()))
            rows = [i for i in range(len(hidden)) if i not in order[:gone]]
            hidden, sizes, places = hidden[rows], sizes[rows], [places[i] for i in rows]
    if n_blocks == len(vision.blocks(tower)) and hasattr(tower, "layernorm") and model.hidden_is_last:
        hidden = tower.layernorm(hidden)
    return model.model.multi_modal_projector(hidden[first:]), [place - first for place in places[first:]]


def by_hand(model, row, method, positions="compact"):
    """Logits of one row's shorter sequence, made without hooks, cache or our gather; and which columns are left."""
    ids = row["input_ids"][0]
    embeds, columns = model.get_input_embeddings()(ids), (ids == IMAGE).nonzero().flatten().tolist()
    layer = model.config.vision_feature_layer
    n_blocks = len(vision.blocks(model.model.vision_tower)) + 1 + layer
    parts, kept, done = [], [], 0
    for column in range(len(ids)):
        if column not in columns:
            parts.append(embeds[column][None])
            kept.append(column)
        elif columns.index(column) % N == 0:
            features, places = tower_by_hand(model, row["pixel_values"][done], method, n_blocks)
            parts.append(features)
            kept += [column + place for place in places]
            done += 1
    hidden = torch.cat(parts)
    where = torch.arange(len(kept)) if positions == "compact" else torch.tensor(kept)
    causal = torch.ones(len(kept), len(kept), dtype=torch.bool).tril()[None, None]
    additive = torch.zeros(causal.shape, dtype=hidden.dtype).masked_fill(~causal, torch.finfo(hidden.dtype).min)
    decoder = model.model.language_model
    out = decoder(inputs_embeds=hidden[None], attention_mask=additive, position_ids=where[None], use_cache=False)
    return model.lm_head(out.last_hidden_state)[0], kept


def encoded(model, inputs):
    """The features of all pictures behind the projector, one below the other."""
    features = model.model.get_image_features(inputs["pixel_values"]).pooler_output
    return torch.cat([*features])


def llava(kind="clip", layer=-1, n_blocks=3):
    """A LLaVA with the tower of `vision_models`, whose features are those of hidden state `layer`."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    tower = vision.build(kind, n_blocks=n_blocks)
    text = build().config.text_config
    config = LlavaConfig(
        vision_config=tower.config, text_config=text, image_token_index=IMAGE, vision_feature_layer=layer
    )
    config.initializer_range = 0.3
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa", dtype=torch.float64).eval()
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.generation_config.pad_token_id = 0
    model.generation_config.suppress_tokens = [IMAGE]
    # hidden states of some towers end with what comes out of them, normed
    with torch.no_grad():
        out = model.model.vision_tower(vision.pixels(1), output_hidden_states=True)
    model.hidden_is_last = torch.equal(out.hidden_states[-1], out.last_hidden_state)
    return model


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


def test_the_model_is_left_as_it_was_found(watched):
    model, inputs, check = watched
    with torch.no_grad(), prune(model, ToMe(r=3)):
        model(**inputs)
    with pytest.raises(RuntimeError, match="stop"), prune(model, ToMe(r=3)):
        raise RuntimeError("stop")
    prepare(model, ToMe(r=3), **inputs)
    check()


def test_a_model_is_pruned_once_at_a_time(model):
    with prune(model, ToMe()), pytest.raises(ValueError, match="is being pruned already"), prune(model, ZeroTPrune()):
        pass


def test_threads_with_methods_of_their_own():
    model, inputs = build(), encode([[2, "I", 3]])
    with torch.no_grad():
        wanted = []
        for method in METHODS:
            with prune(model, method):
                wanted.append(model(**inputs).logits)
        whole, wrong = model(**inputs).logits, []

        def work(number: int) -> None:
            with torch.no_grad():
                for _ in range(6):
                    with prune(model, METHODS[number]) as report:
                        if not torch.equal(model(**inputs).logits, wanted[number]) or report.n_passes != 1:
                            wrong.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(METHODS))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert torch.equal(model(**inputs).logits, whole)


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
