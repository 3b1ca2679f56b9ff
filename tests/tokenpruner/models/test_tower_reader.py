"""Attention and keys of vision towers, as methods get them through real models, against those computed by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.tokenpruner.adapters.family_checks import fed
from tests.tokenpruner.adapters.test_family_video import encode as encode_videos
from tests.tokenpruner.conftest import N, build, encode, state
from tokenpruner import Context, Method, prepare, prune
from tokenpruner.models.image_layouts import Layout
from tokenpruner.models.marked_tower import Groups
from tokenpruner.models.patch_order import window_order
from tokenpruner.models.tower_reader import _received_masked
from tokenpruner.models.tower_reading import TOWER, TowerReading
from tokenpruner.models.transformers_api import looks_up_attention

SQUARES = ["internvl", "gemma3", "idefics3"]
ROWS = [[2, "I", 3, "I", 1], [4], [1, "I", 2]]


@dataclasses.dataclass(frozen=True)
class Spy(Method):
    """Keeps the first tokens, and all that it was shown."""

    keep_ratio: float = 0.25
    tower_layer: int = -2
    asked: tuple[str, ...] = ("class_attention", "keys")

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset(self.asked)

    def keep(self, context: Context, n: int) -> torch.Tensor:
        SEEN.append(context)
        return torch.arange(n)


SEEN: list[Context] = []


@pytest.fixture
def seen():
    SEEN.clear()
    return SEEN


def shown(model, inputs, **fields):
    """What the method is shown in one pass."""
    SEEN.clear()
    with torch.no_grad(), prune(model, Spy(**fields)):
        model(**inputs)
    return [*SEEN]


def block_inputs(model, layer, run):
    """Hidden states and arguments that the attention of block `layer` of the tower gets in each call inside `run`."""
    tower = next(own for name, own in model.model.named_children() if "vis" in name)
    attention = [own for own in tower.modules() if looks_up_attention(own)][layer]
    calls = []
    handle = attention.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
    )
    with torch.no_grad():
        run()
    handle.remove()
    return attention, calls


def projections(attention):
    """Those of queries and keys, which older releases call otherwise."""
    names = ("q_proj", "k_proj") if hasattr(attention, "q_proj") else ("query", "key")
    return [getattr(attention, name) for name in names]


@pytest.mark.parametrize("vision", ["clip", "dinov2"])
@pytest.mark.parametrize("layer", [-2, -1, 0])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_class_attention_and_keys_by_hand(vision, layer, attention, seen):
    model, inputs = build(vision, attention), encode(ROWS)
    own, calls = block_inputs(model, layer, lambda: model(**inputs))
    hidden = torch.cat([(args[0] if args else kwargs["hidden_states"]) for args, kwargs in calls])
    q, k = (part(hidden).unflatten(-1, (2, 8)).transpose(1, 2).detach() for part in projections(own))
    weights = (q @ k.transpose(2, 3) / 8**0.5).softmax(-1)
    joint = (q.transpose(1, 2).flatten(2) @ k.transpose(1, 2).flatten(2).transpose(1, 2) / 4).softmax(-1)
    contexts = shown(model, inputs, tower_layer=layer, asked=tuple(TOWER))
    assert len(contexts) == 3
    for number, context in enumerate(contexts):
        assert context.tower is not None
        assert torch.allclose(context.tower.class_attention.double(), weights[number, :, 0, 1:].mean(0), atol=1e-6)
        assert torch.allclose(context.tower.joint_attention.double(), joint[number, 0, 1:], atol=1e-6)
        assert torch.allclose(context.tower.keys.double(), k[number, :, 1:].transpose(0, 1), atol=1e-5)
        assert context.tower.class_attention.dtype == torch.float32
        assert context.tower.keys.shape == (N, 2, 8)


def test_only_what_is_asked_for_is_kept():
    model, inputs = build(), encode(ROWS)
    (context, *_) = shown(model, inputs, asked=("class_attention",))
    assert context.tower is not None
    assert context.tower.keys is None
    assert context.tower.joint_attention is None
    assert shown(model, inputs, asked=("visual",))[0].tower is None


def test_beams_and_later_passes_get_the_readings_of_their_images(seen):
    """generate() encodes ahead of its first pass, and repeats what it got for its beams."""
    model, inputs = build(), encode([[2, "I", 3], [1, "I", 2]])
    alone = shown(model, inputs)
    SEEN.clear()
    with torch.no_grad(), prune(model, Spy()):
        model.generate(**inputs, num_beams=2, do_sample=False, max_new_tokens=2)
    assert len(SEEN) == 4
    for number, context in enumerate(SEEN):
        assert torch.equal(context.tower.class_attention, alone[number // 2].tower.class_attention)


def test_prepare_reads_the_same(seen):
    model, inputs = build(), encode(ROWS)
    alone = shown(model, inputs)
    SEEN.clear()
    prepare(model, Spy(), **inputs)
    for got, wanted in zip(SEEN, alone, strict=True):
        assert torch.equal(got.tower.keys, wanted.tower.keys)


def test_the_model_is_left_as_it_was_found(model, prompt):
    inputs = prompt([[2, "I", 3]])
    wanted = model(**inputs).logits
    before = state(model)
    with torch.no_grad(), prune(model, Spy()):
        model(**inputs)
    with pytest.raises(RuntimeError, match="stop"), prune(model, Spy()):
        raise RuntimeError("stop")
    assert state(model) == before
    assert torch.equal(model(**inputs).logits, wanted)


def test_reading_changes_nothing(model, prompt):
    """The function that the attention had does the work."""
    inputs = prompt([[2, "I", 3]])
    with torch.no_grad(), prune(model, Spy(asked=("visual",))):
        wanted = model(**inputs).logits
    with torch.no_grad(), prune(model, Spy()):
        assert torch.equal(model(**inputs).logits, wanted)


def test_llava_next_packs_views(seen):
    """Each token of the packed image has the attention of the patch whose features it is."""
    feed = fed("llava_next")
    model, inputs = feed.model, feed.encode([[2, "I", 3, "I", 1]])
    projected, weights = [], []
    handle = model.model.multi_modal_projector.register_forward_hook(lambda *given: projected.append(given[2]))
    own, calls = block_inputs(model, -2, lambda: model(**inputs))
    handle.remove()
    for args, kwargs in calls:
        hidden = args[0] if args else kwargs["hidden_states"]
        q, k = (part(hidden).unflatten(-1, (own.num_heads, -1)).transpose(1, 2) for part in projections(own))
        weights.append((q[:, :, :1] @ k.transpose(2, 3) * own.scale).softmax(-1).mean(1)[:, 0, 1:].flatten())
    features, attention = torch.cat([own.flatten(0, 1) for own in projected]), torch.cat(weights)
    n_newlines = 0
    for context in shown(model, inputs, newlines="compete"):
        for token, said in zip(context.visual, context.tower.class_attention, strict=True):
            found = (features == token).all(1).nonzero().flatten()
            if len(found):
                assert torch.allclose(said.to(attention), attention[found[0]], atol=1e-6)
            else:
                n_newlines += 1
                assert said == 0
    assert n_newlines


@pytest.mark.newest
def test_llava_onevision_pools_frames(seen):
    """Attention of a video's patches is averaged as its features are, and the newline behind it has none."""
    feed = fed("llava_onevision")
    inputs = encode_videos(feed, [[2, "V", 1]])
    attention = next(own for own in feed.model.model.vision_tower.modules() if looks_up_attention(own))
    calls = []
    handle = attention.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
    )
    with torch.no_grad(), prune(feed.model, Spy(asked=("class_attention",), tower_layer=0)):
        feed.model(**inputs)
    handle.remove()
    args, kwargs = calls[0]
    hidden = args[0] if args else kwargs["hidden_states"]
    q, k = (own(hidden).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for own in projections(attention))
    received = (q @ k.transpose(2, 3) * attention.scale).softmax(-1).mean((1, 2))
    side = int(received.shape[1] ** 0.5)
    half = -(-side // 2)
    grid = received.view(-1, 1, side, side)
    wanted = torch.nn.functional.interpolate(grid, size=(half, half), mode="bilinear").flatten(1)
    for context, own in zip(seen, wanted, strict=True):
        found = context.of_tower("class_attention")
        torch.testing.assert_close(found[: half * half], own)
        assert not found[half * half :].any()


def turned(x, cos, sin):
    """Queries or keys with their positions encoded."""
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat([-right, left], -1) * sin


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_patches_that_become_one_token_are_averaged(name, seen, monkeypatch):
    """Towers without class token: attention received; neighbours in the tower's order, or in that before windows."""
    feed = fed(name)
    model, inputs = feed.model, feed.encode([[2, "I", 3, "I", 1]])
    visual = model.model.visual
    if name == "qwen2_5_vl":
        # windows of two by two groups of patches
        monkeypatch.setattr(visual, "window_size", 2 * visual.patch_size * visual.spatial_merge_size)
    own, calls = block_inputs(model, -1, lambda: model(**inputs))
    received = []
    for args, kwargs in calls:
        hidden = args[0] if args else kwargs["hidden_states"]
        q, k, _ = own.qkv(hidden).reshape(len(hidden), 3, own.num_heads, -1).permute(1, 2, 0, 3).unbind(0)
        q, k = (turned(part, *kwargs["position_embeddings"]) for part in (q, k))
        ends = kwargs["cu_seqlens"].tolist()
        for start, end in zip(ends, ends[1:], strict=False):
            scores = q[:, start:end] @ k[:, start:end].transpose(1, 2) * own.scaling
            received.append(scores.softmax(-1).mean((0, 1)))
    groups = torch.cat(received).unflatten(0, (-1, 4))
    if name == "qwen2_5_vl":
        order = windows(visual, inputs["image_grid_thw"])
        assert not torch.equal(order, torch.arange(len(order)))
        groups = groups[order.argsort()]
    contexts = shown(model, inputs, tower_layer=-1, asked=("class_attention",))
    got = torch.cat([context.tower.class_attention for context in contexts])
    assert torch.allclose(got.to(groups), groups.mean(1), atol=1e-6)


def windows(visual, grid):
    """The order in which Qwen2.5-VL puts groups of patches: lines of windows, each line by line."""
    side, order, first = visual.window_size // visual.patch_size // visual.spatial_merge_size, [], 0
    for times, height, width in grid.tolist():
        rows, columns = height // visual.spatial_merge_size, width // visual.spatial_merge_size
        index = torch.arange(times * rows * columns).view(times, rows, columns) + first
        first += times * rows * columns
        for frame in index:
            for top in range(0, rows, side):
                for left in range(0, columns, side):
                    order.append(frame[top : top + side, left : left + side].flatten())
    return torch.cat(order)


def disturbing(model, tower, pixels, n_first, n_patches):
    """For each visual token the patches that reach it: those whose change, alone, changes it."""
    noise, patch = torch.randn(1), [None]

    def change(module, args, output):
        # no other parameter of the model hangs on what comes out here
        for name, value in [*output.items()]:
            values = [value] if isinstance(value, torch.Tensor) else value
            changed = [None if own is None else own.clone() for own in values]
            for own in changed:
                if patch[0] is not None and own is not None and own.shape[1:2] == (n_first + n_patches,):
                    own[:, n_first + patch[0]] += 1 + noise.abs() * torch.arange(own.shape[2])
            output[name] = changed[0] if isinstance(value, torch.Tensor) else tuple(changed)
        return output

    def features():
        output = model.get_image_features(**pixels).pooler_output
        return torch.cat([own.flatten(0, -2) for own in output])

    handle = tower.register_forward_hook(change)
    with torch.no_grad():
        whole, groups = features(), []
        for number in range(n_patches):
            patch[0] = number
            groups.append((features() - whole).abs().amax(-1) > 1e-7)
    handle.remove()
    return torch.stack(groups, 1)


@pytest.mark.parametrize("name", SQUARES)
def test_squares_of_patches_become_one_token(name, seen):
    """Pixel shuffle and pooling: which patches make a token is found by disturbing one after the other."""
    feed = fed(name)
    model, inputs = feed.model, feed.encode([[2, "I", 3]])
    core = getattr(model, "model", model)
    tower = next(own for part, own in core.named_children() if "vis" in part)
    pixels = {key: value for key, value in inputs.items() if "pixel" in key or "size" in key}
    own, calls = block_inputs(model, -1, lambda: model(**inputs))
    ((args, kwargs),) = calls
    hidden = args[0] if args else kwargs["hidden_states"]
    n_first = hidden.shape[1] % 8
    q, k = (part(hidden).unflatten(-1, (own.num_heads, -1)).transpose(1, 2).detach() for part in projections(own))
    weights = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1).mean(1)[0]
    received = (weights[0] if n_first else weights.mean(0))[n_first:]
    keys = k[0, :, n_first:].transpose(0, 1)
    groups = disturbing(core, tower, pixels, n_first, hidden.shape[1] - n_first)
    assert groups.sum(1).unique().tolist() == [4]
    (context,) = shown(model, inputs, tower_layer=-1)
    for token, patches in enumerate(groups):
        assert torch.allclose(context.tower.class_attention[token], received[patches].mean(), atol=1e-6)
        assert torch.allclose(context.tower.keys[token], keys[patches].mean(0), atol=1e-5)
    # as in the batch of another order
    SEEN.clear()
    batch = shown(model, feed.encode([["I", 2], [1]]), tower_layer=-1)
    assert torch.allclose(batch[0].tower.class_attention, context.tower.class_attention, atol=1e-6)


def test_squares_are_proved_on_the_model(seen, monkeypatch):
    """Tokens in another order, or that leave a patch out, are no squares."""
    feed = fed("internvl")
    model, inputs = feed.model, feed.encode([[2, "I", 3]])
    plain = type(model.model).get_image_features
    wrong = {
        "turned": lambda own: own.unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2),
        "mixed": lambda own: own + own.mean(1, keepdim=True),
        "blank": torch.zeros_like,
    }
    for change in wrong.values():

        def changed(self, *args, change=change, **kwargs):
            output = plain(self, *args, **kwargs)
            output.pooler_output = change(output.pooler_output)
            return output

        monkeypatch.setattr(type(model.model), "get_image_features", changed)
        with pytest.raises(ValueError, match="which of which is not known"):
            shown(model, inputs, tower_layer=-1)
    monkeypatch.undo()
    shuffle = type(model.model).pixel_shuffle

    def without_one(self, *args, **kwargs):
        return shuffle(self, *args, **kwargs).index_fill(-1, torch.arange(32), 0)

    monkeypatch.setattr(type(model.model), "pixel_shuffle", without_one)
    with pytest.raises(ValueError, match="which of which is not known"):
        shown(model, inputs, tower_layer=-1)
    monkeypatch.undo()
    assert len(shown(model, inputs, tower_layer=-1)) == 1


def test_pictures_in_one_sequence_are_read_each_by_itself(seen):
    """Mistral 3 puts all pictures of a batch into one, and masks them from each other."""
    feed = fed("mistral3")
    rows = [[2, "I", 3, "I", 1], ["I", 2]]
    inputs = feed.encode(rows)
    batch = shown(feed.model, inputs, tower_layer=-1)
    pixels = [key for key in inputs if "pixel" in key or "size" in key]
    for number, context in enumerate(batch):
        alone = feed.encode([[2, "I", 3]]) | {key: inputs[key][number : number + 1] for key in pixels}
        (own,) = shown(feed.model, alone, tower_layer=-1)
        assert torch.allclose(own.tower.class_attention, context.tower.class_attention, atol=1e-6)
        # of four patches of 64, each of which is read by 64
        assert own.tower.class_attention.sum() == pytest.approx(1 / 4, abs=1e-5)


@pytest.mark.parametrize("form", ["bool", "additive"])
def test_masked_attention_by_hand(form):
    """Two pictures of 3 and 2 tokens, and a token of padding that nobody sees."""
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 2, 6, 4, generator=generator) for _ in range(2))
    allowed = torch.block_diag(torch.ones(3, 3), torch.ones(2, 2), torch.zeros(1, 1)).bool()
    allowed[5, :3] = True
    mask = allowed if form == "bool" else torch.zeros(6, 6).masked_fill(~allowed, torch.finfo(torch.float32).min)
    got = _received_masked(q, k, mask[None, None], 0.5)[0]
    for own in (slice(0, 3), slice(3, 5)):
        weights = (q[0, :, own] @ k[0, :, own].mT * 0.5).softmax(-1)
        assert torch.allclose(got[own], weights.mean((0, 1)), atol=1e-6)
    assert got[5] == 0


def test_proofs_are_made_once_and_change_nothing():
    """Three more runs of what lies behind the tower, for the first picture of a size alone; the tower runs once."""
    feed = fed("internvl")
    model, inputs = feed.model, feed.encode([[2, "I", 3]])
    runs = {"tower": 0, "projector": 0}

    def counting(name):
        return lambda module, args, output: runs.update({name: runs[name] + 1})

    blocks = [own for own in model.model.vision_tower.modules() if looks_up_attention(own)]
    handles = [blocks[0].register_forward_hook(counting("tower"))]
    handles += [model.model.multi_modal_projector.register_forward_hook(counting("projector"))]
    with torch.no_grad(), prune(model, Spy(asked=("visual",))):
        wanted = model(**inputs).logits
    runs.update(tower=0, projector=0)
    with torch.no_grad(), prune(model, Spy()):
        assert torch.equal(model(**inputs).logits, wanted)
        assert runs == {"tower": 1, "projector": 4}
        model(**feed.encode([["I", 2]], seed=8))
        assert runs == {"tower": 2, "projector": 5}
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize(
    ("lengths", "layouts", "found"),
    [
        ([64], [Layout(16)], (((4, 4),), (2, 2))),
        ([64] * 3, [Layout(32), Layout(16)], (((4, 4),) * 3, (2, 2))),
        ([36], [Layout(4)], (((2, 2),), (3, 3))),
        # two pictures in one sequence, whose grids are known
        ([48 + 64], [Layout(12, 1, ((2, 6),)), Layout(16, 1, ((4, 4),))], (((2, 6), (4, 4)), (2, 2))),
        ([24], [Layout(6, 2, ((1, 3),))], (((1, 3),) * 2, (2, 2))),
        ([15], [Layout(15)], (((1, 15),), (1, 1))),
        ([64, 36], [Layout(16), Layout(9)], (((4, 4), (3, 3)), (2, 2))),
        ([60], [Layout(15)], (((1, 15),), (1, 4))),
        ([64], [Layout(15)], None),
        ([36], [Layout(16)], None),
        ([64], [Layout(0)], None),
    ],
)
def test_guesses_by_hand(lengths, layouts, found):
    guesses = [*Groups.guesses(lengths, layouts)]
    assert guesses[:1] == ([] if found is None else [Groups(*found)])
    # neighbours in the tower's order are the last one
    n_tokens = sum(layout.size for layout in layouts)
    assert guesses[1:] == (
        [] if found is None or found[1][0] == 1 else [Groups(((1, n_tokens),), (1, found[1][0] ** 2))]
    )


def test_patches_of_groups_by_hand():
    # 1 x 2 tokens of 2 x 2 patches, then 2 x 1 of them
    groups = Groups(((1, 2), (2, 1)), (2, 2))
    assert groups.token_of().tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    values = torch.arange(16.0)[:, None]
    assert groups.means(values).flatten().tolist() == [2.5, 4.5, 9.5, 13.5]
    for marks, wanted in groups.tests():
        reached = torch.zeros(4).index_add(0, groups.token_of(), marks.float())
        assert torch.equal(reached > 0, wanted)
        assert set(reached[wanted].tolist()) in ({4.0}, {1.0})


def test_windows_of_unknown_towers_are_refused():
    """Another module of a family whose towers make windows, without the sizes that would tell which."""
    visual = fed("qwen2_5_vl").model.model.visual
    with pytest.raises(ValueError, match="puts patches into windows"):
        window_order(visual.patch_embed, {"image_grid_thw": torch.tensor([[1, 8, 8]])})


def test_layers_and_class_tokens_that_are_not_there_are_refused(model):
    with pytest.raises(ValueError, match="has 2 blocks, got tower_layer=-3"), prune(model, Spy(tower_layer=-3)):
        pass
    feed = fed("qwen2_vl")
    with pytest.raises(ValueError, match="no class token"), prune(feed.model, Spy(asked=("joint_attention",))):
        pass
    assert TowerReading().map(torch.abs) == TowerReading()
