"""Pooling and merges before the decoder: cells by hand, means against float64, through models against a replay."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from prunekernels import spec
from tests.tokenpruner.adapters import families
from tests.tokenpruner.conftest import IMAGE
from tokenpruner import Context, Method, prepare, prune
from tokenpruner.base.before_decoder import Merge
from tokenpruner.before_decoder.selection import MergedTokens, concatenated
from tokenpruner.methods.pool import Pool
from tokenpruner.methods.random import Random


def context(n, grid=None, views=()):
    visual = torch.randn(n, 8, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    return Context(visual, grid, views=views)


def pooled(own, n):
    picks = Pool(n_keep=n).select(own)
    return picks.tolist(), Pool().merge(own, picks).target.tolist()


def test_cells_by_hand():
    picks, target = pooled(context(16, (4, 4)), 4)
    assert picks == [5, 7, 13, 15]
    assert target == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]
    # bands of 2 and 3 rows: the upper one takes one cell, the lower one two
    assert pooled(context(15, (5, 3)), 3) == ([4, 9, 11], [0] * 6 + [1, 2, 2] * 3)
    assert pooled(context(15, (3, 5)), 3) == ([5, 7, 9], [0, 1, 1, 2, 2] * 3)
    # without a grid: runs of 2, 2, 3
    assert pooled(context(7), 3) == ([1, 3, 5], [0, 0, 1, 1, 2, 2, 2])


def test_cells_of_a_cut_up_image():
    # 4 : 12 tokens share 4 as 1 : 3
    picks, target = pooled(context(16, views=((2, 2), (4, 3))), 4)
    assert target[:4] == [0] * 4
    assert set(target[4:]) == {1, 2, 3}
    assert len(picks) == 4
    # the overview gets nothing, and goes into nothing
    assert pooled(context(14, views=((1, 1), (1, 13))), 1) == ([7], [-1] + [0] * 13)


@pytest.mark.parametrize("name", ["pool:", "stride:", "spatial:method=stride,rate=0.25,"])
def test_even_baselines_of_a_cut_up_image_are_exact(name):
    own = context(28, views=((2, 2), (4, 6)))
    for n in range(1, 29):
        assert len(spec.build("tokenpruner.methods", f"{name}n_keep={n}", Method).select(own)) == n


@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (7, 1), (3, 5), (4, 4), (8, 3), (5, 9)])
def test_cells_are_rectangles_of_like_size(grid):
    height, width = grid
    for n in range(1, height * width):
        picks, target = pooled(context(height * width, grid), n)
        assert sorted(set(target)) == list(range(n))
        owner = torch.tensor(target).view(grid)
        areas = []
        for cell, pick in enumerate(picks):
            rows, columns = (owner == cell).nonzero(as_tuple=True)
            n_rows, n_columns = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
            assert n_rows * n_columns == len(rows)
            assert target[pick] == cell
            areas.append((n_rows, n_columns))
        assert max(rows for rows, _ in areas) - min(rows for rows, _ in areas) <= 1


def test_a_blend_by_hand():
    values = torch.arange(24.0).view(2, 4, 3)
    merge = Merge(torch.tensor([0, 0, -1, 1]), torch.tensor([1.0, 3.0, 9.0, 2.0]))
    blend = MergedTokens.of(merge, torch.tensor([1, 3]), torch.tensor([4, 5, 6, 7]))
    # only the group of two is averaged, at the place of token 1 of row 1
    assert blend.source.tolist() == [4, 5]
    got = blend(values)
    assert torch.equal(got[0], values[0])
    assert got[1].tolist() == [[12, 13, 14], [14.25, 15.25, 16.25], [18, 19, 20], [21, 22, 23]]
    assert concatenated([]) is None


@pytest.mark.parametrize(
    ("merge", "says"),
    [
        (Merge(torch.tensor([0, 1, 1])), r"want a merge target int64 \[4\], got torch.int64 \[3\]"),
        (Merge(torch.tensor([0.0, 1, 1, 1])), r"want a merge target int64 \[4\], got torch.float32"),
        (Merge(torch.tensor([0, 2, 1, 1])), "want merge targets from -1 to 1, got 0 to 2"),
        (Merge(torch.tensor([0, -2, 1, 1])), "want merge targets from -1 to 1, got -2 to 1"),
        (Merge(torch.tensor([1, 1, 1, 1])), "want kept token 0 to go into itself, got 1"),
        (
            Merge(torch.tensor([0, 1, 1, 1]), torch.ones(3)),
            r"want positive merge weights, float32 \[4\], got torch.float32 \[3\]",
        ),
        (Merge(torch.tensor([0, 1, 1, 1]), torch.tensor([1.0, 0, 1, 1])), "want positive merge weights"),
        (Merge(torch.tensor([0, 1, 1, 1]), torch.tensor([1.0, torch.nan, 1, 1])), "want positive merge weights"),
    ],
)
def test_merges_that_do_not_fit(merge, says):
    with pytest.raises(ValueError, match=f"wrong: {says}"):
        merge.check("wrong", torch.tensor([0, 2]), 4)


ROWS = [[2, "I", 3], [4], ["I", 2, "I", 1]]
# norms and rotations are float32 in a model of float64
CLOSE = {"rtol": 0, "atol": 2e-5}


@dataclasses.dataclass(frozen=True)
class Nearest(Method):
    """Random picks; every third of the others goes into the pick of the largest cosine, by its place as weight."""

    def keep(self, context: Context, n: int) -> torch.Tensor:
        return Random().keep(context, n)

    def merge(self, context: Context, picks: torch.Tensor) -> Merge:
        unit = torch.nn.functional.normalize(context.visual.double(), dim=1)
        target = (unit @ unit[picks].T).argmax(1)
        target[torch.arange(len(target)) % 3 > 0] = -1
        target[picks] = torch.arange(len(picks))
        return Merge(target, 1.0 + torch.arange(context.size))


@pytest.mark.parametrize("method", [Pool(n_keep=5), Pool(keep_ratio=0.5, positions="compact"), Nearest(n_keep_row=6)])
def test_a_merged_batch_by_hand(model, prompt, singles, method):
    """Each row alone: means in float64 by a loop, then the decoder on what stays."""
    inputs = prompt(ROWS)
    with torch.no_grad(), prune(model, method) as report:
        got = model(**inputs).logits
    for number, row in enumerate(singles(inputs)):
        ids = row["input_ids"][0]
        embeds = model.get_input_embeddings()(ids).detach().clone()
        kept = torch.ones(len(ids), dtype=torch.bool)
        if "pixel_values" in row:
            with torch.no_grad():
                features = model.model.get_image_features(row["pixel_values"]).pooler_output
            n_keeps = method.counts([16] * len(features))
            columns = (ids == IMAGE).nonzero().flatten().view(len(features), 16)
            for image, own in enumerate(features):
                shown = Context(own, (4, 4), 0, image)
                picks = method.select(shown, n_keeps[image])
                merge = method.merge(shown, picks)
                kept[columns[image]] = False
                kept[columns[image][picks]] = True
                weight = torch.ones(16) if merge.weight is None else merge.weight
                for place, pick in enumerate(picks.tolist()):
                    into = [token for token in range(16) if merge.target[token] == place]
                    total = sum(own[token] * weight[token].double() for token in into)
                    embeds[columns[image][pick]] = total / sum(weight[token].double() for token in into)
        columns = kept.nonzero().flatten()
        where = columns if method.positions == "keep" else torch.arange(len(columns))
        causal = torch.zeros(len(columns), len(columns), dtype=torch.float64)
        causal.masked_fill_(~torch.ones_like(causal).bool().tril(), -1e300)
        with torch.no_grad():
            hidden = model.model.language_model(
                inputs_embeds=embeds[columns][None], attention_mask=causal[None, None], position_ids=where[None]
            ).last_hidden_state
            wanted = model.lm_head(hidden)[0]
        torch.testing.assert_close(got[number, -len(wanted) :], wanted, **CLOSE)
    assert [len(image.kept) for image in report.images] == [
        n for own in ([16], [], [16, 16]) for n in (method.counts(own) if own else [])
    ]


def test_keeping_everything_is_bit_equal(model, prompt):
    inputs = prompt(ROWS)
    with torch.no_grad():
        wanted = model(**inputs).logits
        for method in (Pool(keep_ratio=1.0), Pool(n_keep=16)):
            with prune(model, method):
                assert torch.equal(model(**inputs).logits, wanted)


def test_both_forms_merge_alike(model, prompt):
    inputs, kind = prompt(ROWS), {"do_sample": False, "max_new_tokens": 4}
    with prune(model, Pool(n_keep=3)):
        wanted = model.generate(**inputs, **kind)[:, inputs["input_ids"].shape[1] :]
    assert torch.equal(model.generate(**prepare(model, Pool(n_keep=3), **inputs), **kind), wanted)


def test_gradients_reach_every_token_that_went_in(model, prompt):
    inputs = prompt([[2, "I", 3]])
    pixels = inputs["pixel_values"].clone().requires_grad_()
    seen = []
    grabbed = model.model.multi_modal_projector.register_forward_hook(lambda _, __, output: seen.append(output))
    with prune(model, Pool(n_keep=3)):
        hidden = model.model(**inputs | {"pixel_values": pixels}).last_hidden_state
    grabbed.remove()
    (gradient,) = torch.autograd.grad(hidden.square().sum(), seen[0])
    assert (gradient.abs().sum(-1) > 0).all()


def test_nan_is_named(model, prompt):
    inputs = prompt([[2, "I", 3]])
    inputs["pixel_values"][0, 0, 0, 0] = torch.nan
    with prune(model, Pool()), pytest.raises(ValueError, match="visual embedding 0 of image 0 of row 0 has NaN"):
        model(**inputs)


@torch.no_grad()
def test_planes_of_deep_features_are_averaged_as_the_tokens_are():
    feed = families.feed("qwen3_vl")
    if isinstance(feed, str):
        pytest.skip(feed)
    inputs, grabbed = feed.encode([[2, "I", 3], ["I", 4]]), []
    backbone = feed.model.model.language_model
    handle = backbone.register_forward_hook(lambda _, __, kwargs, ___: grabbed.append(kwargs), with_kwargs=True)
    feed.model(**inputs)
    with prune(feed.model, Pool(n_keep=4)) as report:
        feed.model(**inputs)
    handle.remove()
    plain, own = (kwargs["deepstack_visual_embeds"] for kwargs in grabbed)
    size = report.images[0].size
    method = Pool(n_keep=4)
    shown = Context(torch.zeros(size, 1), report.images[0].grid)
    target = method.merge(shown, method.select(shown)).target
    for before, after in zip(plain, own, strict=True):
        wanted = [before[first : first + size][target == cell].mean(0) for first in (0, size) for cell in range(4)]
        torch.testing.assert_close(after, torch.stack(wanted), rtol=0, atol=1e-6)
