"""ToMe inside vision transformers: against a loop in plain arithmetic, and against attention over equal keys."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner import vision_models as vision
from tokenpruner import prune
from tokenpruner.methods.tome import ToMe


def merge(hidden, keys, sizes, r, protected):
    """The merge of one image [N, D], pair by pair."""
    metric = torch.nn.functional.normalize(keys.mean(0), dim=-1)
    even = [i for i in range(0, len(hidden), 2) if i >= protected]
    odd = [i for i in range(1, len(hidden), 2) if i >= protected]
    best = {a: max(odd, key=lambda b, a=a: float(metric[a] @ metric[b])) for a in even}
    chosen = sorted(even, key=lambda a: -float(metric[a] @ metric[best[a]]))[:r]
    groups = [[i] for i in range(len(hidden)) if i not in chosen]
    for a in chosen:
        next(group for group in groups if group[0] == best[a]).append(a)
    whole = torch.stack([sum(sizes[i] * hidden[i] for i in group) / sum(sizes[i] for i in group) for group in groups])
    return whole, torch.stack([sum(sizes[i] for i in group) for group in groups]), [group[0] for group in groups]


@torch.no_grad()
def by_hand(tower, image, counts, protected):
    """Final tokens, pooled output, and which first tokens' places are left."""
    hidden = vision.entered(tower, image[None])[0]
    sizes, places = torch.ones(len(hidden), dtype=torch.float64), list(range(len(hidden)))
    for block, r in zip(vision.blocks(tower), counts, strict=True):
        hidden, _, keys = vision.worked(block, hidden, sizes)
        if r:
            hidden, sizes, stand = merge(hidden, keys, sizes, r, protected)
            places = [places[i] for i in stand]
    last = vision.finished(tower, hidden)
    return last, vision.pooled(tower, last, sizes), [i - protected for i in places[protected:]]


def mergeable(name: str, attention: str = "sdpa") -> torch.nn.Module:
    model = vision.build(name, attention)
    if not vision.takes_mask(model):
        pytest.skip("blocks of this release take no mask")
    return model


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", vision.TOWERS)
def test_agrees_with_a_loop(name, attention):
    model, images = mergeable(name, attention), vision.pixels(3)
    with torch.no_grad(), prune(model, ToMe(r=(3, 0, 4, 2))) as report:
        got = model(images)
    for row, image in enumerate(images):
        last, pooled, places = by_hand(model, image, (3, 0, 4, 2), vision.FIRST[name])
        # transformers' eager attention takes its softmax in float32; the rest is float64 but for the choice of pairs
        close = {"rtol": 1e-9, "atol": 1e-9} if attention == "sdpa" else {"rtol": 1e-5, "atol": 1e-6}
        torch.testing.assert_close(got.last_hidden_state[row], last, **close)
        torch.testing.assert_close(got.pooler_output[row], pooled, **close)
        assert list(report.prefills[0].images[row].kept) == places


@pytest.mark.parametrize("name", vision.TOWERS)
def test_without_proportional_attention(name):
    model, images = vision.build(name), vision.pixels(1)
    with torch.no_grad(), prune(model, ToMe(r=(3, 0, 4, 2), proportional=False)):
        got = model(images).last_hidden_state[0]
    tower = model
    with torch.no_grad():
        hidden, protected = vision.entered(tower, images)[0], vision.FIRST[name]
        sizes, ones = torch.ones(len(hidden), dtype=torch.float64), torch.ones(99, dtype=torch.float64)
        for block, r in zip(vision.blocks(tower), (3, 0, 4, 2), strict=True):
            hidden, _, keys = vision.worked(block, hidden, ones[: len(hidden)])
            if r:
                hidden, sizes, _ = merge(hidden, keys, sizes, r, protected)
        torch.testing.assert_close(got, vision.finished(tower, hidden), rtol=1e-9, atol=1e-9)


def flat(model: torch.nn.Module) -> torch.Tensor:
    """Pictures of one colour each, positions taken out of the model: all patches of an image are alike."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # CLIP and SigLIP number them in a table of their own
            if name.endswith(("embeddings.position_embeddings", "embeddings.position_embedding.weight")):
                weight.zero_()
    return vision.pixels(3)[:, :, :1, :1].expand(-1, -1, 16, 16).contiguous()


@pytest.mark.parametrize("method", [ToMe(r=3), ToMe(keep_ratio=0.2), ToMe(r=(8, 4, 2, 1))])
@pytest.mark.parametrize("name", [*vision.TOWERS, *vision.HEADS])
def test_equal_patches_merge_without_a_trace(name, method):
    """Proportional attention over merged tokens is attention over as many equal keys; means and poolers weigh, too."""
    model = mergeable(name)
    images = flat(model)
    with torch.no_grad():
        whole = vision.run(model, images)
        with prune(model, method) as report:
            merged = vision.run(model, images)
    assert report.visual_after < report.visual_before
    assert whole.keys() == merged.keys()
    for field, value in whole.items():
        # a tower's own tokens are fewer; each is one of those that were there
        same = value[:, : merged[field].shape[1]] if field == "last_hidden_state" else value
        torch.testing.assert_close(merged[field], same, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["vit", "clip_labels", "siglip"])
def test_equal_patches_do_leave_a_trace_without_weights(name):
    model = mergeable(name)
    images = flat(model)
    field = "logits" if name == "clip_labels" else "pooler_output"
    with torch.no_grad():
        whole = vision.run(model, images)[field]
        with prune(model, ToMe(r=3, proportional=False)):
            merged = vision.run(model, images)[field]
    if name == "siglip":
        # all keys of a pooling attention without class token are equal: nothing to weigh
        torch.testing.assert_close(merged, whole, rtol=1e-10, atol=1e-10)
    else:
        assert (merged - whole).abs().max() > 1e-4


def test_the_mean_of_a_head_weighs_by_size():
    """Two colours: the mean over patches is the same whichever way they merged."""
    model, images = mergeable("siglip_labels"), vision.pixels(2)
    with torch.no_grad(), prune(model, ToMe(r=(5, 0, 0, 4))):
        got = model(images).logits
    for row, image in enumerate(images):
        tower = model.vision_model
        with torch.no_grad():
            hidden = vision.entered(tower, image[None])[0]
            sizes = torch.ones(len(hidden), dtype=torch.float64)
            for block, r in zip(vision.blocks(tower), (5, 0, 0, 4), strict=True):
                hidden, _, keys = vision.worked(block, hidden, sizes)
                if r:
                    hidden, sizes, _ = merge(hidden, keys, sizes, r, 0)
            last = vision.finished(tower, hidden)
            wanted = model.classifier((sizes[:, None] * last).sum(0) / sizes.sum())
        torch.testing.assert_close(got[row], wanted, rtol=1e-9, atol=1e-9)
        assert sizes.sum() == vision.N


@pytest.mark.parametrize(
    ("method", "n_patches", "n_blocks", "counts"),
    [
        (ToMe(), 196, 12, [8] * 11),
        (ToMe(r=3), 16, 4, [3, 3, 3]),
        # half of what is there at most
        (ToMe(r=9), 16, 4, [8, 4, 2]),
        (ToMe(r=(20, 20, 20, 20)), 16, 4, [8, 4, 2, 1]),
        (ToMe(r=(0, 5)), 16, 4, [0, 5]),
        (ToMe(r=()), 16, 4, []),
        (ToMe(keep_ratio=0.5), 16, 4, [3, 3, 2]),
        (ToMe(keep_ratio=3 / 16), 16, 4, [5, 5, 3]),
        (ToMe(keep_ratio=0.125), 16, 4, [8, 4, 2]),
        (ToMe(keep_ratio=0.01), 16, 4, [8, 4, 2]),
        (ToMe(keep_ratio=0.25, r=1), 197, 2, [98]),
        (ToMe(keep_ratio=0.5), 16, 1, []),
    ],
)
def test_counts_by_hand(method, n_patches, n_blocks, counts):
    assert list(method.removals(n_patches, n_blocks)) == counts


@pytest.mark.parametrize("n_patches", [1, 2, 5, 16, 49, 196])
@pytest.mark.parametrize("n_blocks", [2, 3, 6, 12])
def test_a_ratio_is_met_where_halving_can(n_patches, n_blocks):
    for n_left in range(1, n_patches + 1):
        method = ToMe(keep_ratio=n_left / n_patches)
        left = n_patches
        for count in method.removals(n_patches, n_blocks):
            assert 0 <= count <= left // 2
            left -= count
        least = -(-n_patches // 2 ** (n_blocks - 1))
        assert left == max(n_left, least)


@pytest.mark.parametrize("wrong", [{"r": -1}, {"r": (3, -1)}, {"r": 2.5}, {"r": True}, {"keep_ratio": 0.0}, {"r": "8"}])
def test_wrong_fields(wrong):
    with pytest.raises(ValueError, match=r"want (r as a count|a number in \(0, 1\])"):
        ToMe(**wrong)


def test_a_schedule_that_is_too_long():
    model = vision.build("vit")
    with pytest.raises(ValueError, match="want r for at most 4 blocks, got 5 numbers"), prune(model, ToMe(r=(1,) * 5)):
        pass
