"""Tokens packed, pooled, merged or shuffled out of patches: each has the mean of what its patches have in the tower."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters.family_checks import fed
from tests.tokenpruner.adapters.test_family_video import encode as encode_videos
from tests.tokenpruner.models.tower_spy import SEEN, Spy, block_inputs, projections, shown
from tokenpruner import prune
from tokenpruner.models.patch_order import window_order
from tokenpruner.models.transformers_api import looks_up_attention

SQUARES = ["internvl", "gemma3", "idefics3"]


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


def test_windows_of_unknown_towers_are_refused():
    """Another module of a family whose towers make windows, without the sizes that would tell which."""
    visual = fed("qwen2_5_vl").model.model.visual
    with pytest.raises(ValueError, match="puts patches into windows"):
        window_order(visual.patch_embed, {"image_grid_thw": torch.tensor([[1, 8, 8]])})
