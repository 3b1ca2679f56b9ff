"""Zero-TPrune, stage by stage in plain float64 loops."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import pytest
import torch

from tests.tokenpruner import vision_models as vision
from tokenpruner import BlockContext, prune
from tokenpruner.methods.zero_tprune import ZeroTPrune, filtered_importance


def voted(q, k, iterations, has_class, protected, variances, scale="mean"):
    """WPR, VHF and EIR of one image, head by head."""
    n, masses, heard = q.shape[1], [], []
    for own_q, own_k in zip(q.double(), k.double(), strict=True):
        graph = (own_q @ own_k.T / own_q.shape[-1] ** 0.5).softmax(-1)
        mass = torch.full((n,), 1 / n, dtype=torch.float64)
        if has_class:
            mass[0] = n**0.5 / n
        for _ in range(iterations):
            mass = graph.T @ mass
        masses.append(mass[protected:])
        scaled = mass[protected:] / (mass[protected:].mean() if scale == "mean" else mass[protected:].sum())
        heard.append(variances[0] <= float(((scaled - scaled.mean()) ** 2).mean()) <= variances[1])
    voices = [mass for mass, is_heard in zip(masses, heard, strict=True) if is_heard or not any(heard)]
    return (sum(mass**2 for mass in voices) / len(voices)).sqrt(), heard


def three_stages(q, k, n_left, iterations, method, has_class, protected):
    """Which patches of one image stay."""
    n_patches = q.shape[1] - protected
    ranked, _ = voted(q, k, 1, has_class, protected, method.variances, method.variance_scale)
    order = sorted(range(n_patches), key=lambda i: float(ranked[i]))
    less, more = order[: n_patches // 2], order[n_patches // 2 :]
    unit = torch.nn.functional.normalize(k.double().mean(0), dim=-1)[protected:]
    alike = {a: max(float(unit[a] @ unit[b]) for b in more) for a in less}
    n_similar = min(math.floor(Fraction(str(method.similar)) * (n_patches - n_left)), n_patches // 2)
    gone = sorted(less, key=lambda a: -alike[a])[:n_similar]
    alive = [i for i in range(n_patches) if i not in gone]
    rows = [*range(protected), *(protected + i for i in alive)]
    scores, _ = voted(q[:, rows], k[:, rows], iterations, has_class, protected, method.variances, method.variance_scale)
    best = sorted(range(len(alive)), key=lambda i: -float(scores[i]))[:n_left]
    return sorted(alive[i] for i in best)


def context(n_tokens, protected=1, n_images=3, heads=3, scale=1.0, has_class=True, block=0):
    generator = torch.Generator().manual_seed(n_tokens)
    q, k = (scale * torch.randn(n_images, heads, n_tokens, 8, generator=generator) for _ in range(2))
    hidden = torch.zeros(n_images, n_tokens, 4)
    return BlockContext(hidden, block, 12, protected, has_class, queries=q, keys=k)


@pytest.mark.parametrize(
    "fields",
    [{"similar": 0.0}, {}, {"similar": 0.3}, {"similar": 1.0}, {"variance_scale": "sum", "variances": (2e-5, 5e-5)}],
    ids=str,
)
@pytest.mark.parametrize("protected", [0, 1, 2, 5])
def test_the_stages_by_hand(protected, fields):
    own = context(30 + protected, protected, has_class=protected > 0)
    method = ZeroTPrune(**fields)
    for n_left in (1, 9, 17, 29):
        picks = method.keep(own, n_left)
        for row in range(3):
            wanted = three_stages(own.queries[row], own.keys[row], n_left, 30, method, protected > 0, protected)
            assert picks[row].tolist() == wanted


@pytest.mark.parametrize("class_weight", [True, False])
def test_in_a_model_by_hand(class_weight):
    """Behind blocks 1 and 3 of 4."""
    model, images = vision.build("deit"), vision.pixels(2)
    method = ZeroTPrune(keep_ratio=0.25, blocks=(1, 3), iterations=(4, 2), similar=0.4, class_weight=class_weight)
    with torch.no_grad(), prune(model, method) as report:
        got = model(images)
    for row, image in enumerate(images):
        with torch.no_grad():
            hidden, places = vision.entered(model, image[None])[0], list(range(18))
            for block, n_left, iterations in zip(vision.blocks(model), (8, 8, 4, 4), (4, 0, 2, 0), strict=True):
                hidden, q, k = vision.worked(block, hidden, torch.ones(len(hidden), dtype=torch.float64))
                if iterations:
                    stays = three_stages(q, k, n_left, iterations, method, class_weight, 2)
                    rows = [0, 1, *(2 + i for i in stays)]
                    hidden, places = hidden[rows], [places[i] for i in rows]
            last = vision.finished(model, hidden)
        torch.testing.assert_close(got.last_hidden_state[row], last, rtol=1e-10, atol=1e-10)
        assert [2 + place for place in report.images[row].kept] == places[2:]


def test_heads_are_filtered_by_variance():
    """An even head, one that stares at one patch, and a useful one: only the last has a say."""
    even, staring = torch.full((10,), 0.1), torch.tensor([0.91, *[0.01] * 9])
    useful = torch.tensor([0.05, *[0.1] * 8, 0.15])
    mass = torch.stack([even, staring, useful])[None]
    assert torch.allclose(filtered_importance(mass, (0.01, 0.7))[0], useful)
    # none is inside: all are heard, by the root of the mean square
    wanted = (torch.stack([even, staring, useful]).square().mean(0)).sqrt()
    assert torch.allclose(filtered_importance(mass, (100.0, 200.0))[0], wanted)
    assert torch.allclose(filtered_importance(mass, (0.0, 200.0))[0], wanted)
    # variances of scores of sum 1 are 10 x 10 times smaller: 0.05 / 100 for the useful head
    assert torch.allclose(filtered_importance(mass, (4.9e-4, 5.1e-4), "sum")[0], useful)
    # the filter is for each image by itself
    both = filtered_importance(torch.cat([mass, mass[:, :1].expand(-1, 3, -1)]), (0.01, 0.7))
    assert torch.allclose(both[0], useful)
    assert torch.allclose(both[1], even)


def test_published_bounds_on_scores_of_sum_one_would_silence_all():
    own = context(197)
    mass = own.voted(30)
    assert bool((mass.var(-1) < 0.01).all())
    scaled = mass * mass.shape[-1]
    assert bool(((scaled.var(-1) > 0.01) & (scaled.var(-1) < 0.7)).any())


@pytest.mark.parametrize(
    ("method", "n_patches", "n_blocks", "counts"),
    [
        # 196 * 0.4^(i/5), rounded up: 164, 136, 114, 95, 79
        (ZeroTPrune(), 196, 12, [32, 0, 28, 0, 0, 22, 0, 0, 19, 0, 16, 0]),
        (ZeroTPrune(keep_ratio=0.25, blocks=(1, 3)), 16, 4, [8, 0, 4, 0]),
        (ZeroTPrune(keep_ratio=0.01, blocks=(2,)), 16, 4, [0, 15, 0, 0]),
        (ZeroTPrune(keep_ratio=0.5, blocks=(4,)), 16, 4, [0, 0, 0, 8]),
        (ZeroTPrune(keep_ratio=0.5), 16, 1, [0]),
        (ZeroTPrune(keep_ratio=0.5), 16, 2, [8, 0]),
    ],
)
def test_counts_by_hand(method, n_patches, n_blocks, counts):
    assert list(method.removals(n_patches, n_blocks)) == counts


@pytest.mark.parametrize("n_patches", [16, 64, 196, 576])
@pytest.mark.parametrize("n_dropped", [1, 2, 10, 17])
def test_a_share_of_the_cut_leaves_some_to_the_votes(n_patches, n_dropped):
    """A fixed count of 10 would take all of a small cut, and nothing would ever be voted out."""
    n_dropped = min(n_dropped, n_patches - 1)
    counts = {share: ZeroTPrune(similar=share)._n_similar(n_patches, n_patches - n_dropped) for share in (0.5, 0.9)}
    assert counts[0.5] == min(n_dropped // 2, n_patches // 2)
    assert counts[0.9] == min(n_dropped * 9 // 10, n_patches // 2)
    assert all(count < n_dropped for count in counts.values())
    # at most half of the patches stand on the side that goes
    assert ZeroTPrune(similar=1.0)._n_similar(n_patches, n_patches - n_dropped) == min(n_dropped, n_patches // 2)


def test_iterations_fall_with_depth():
    method = ZeroTPrune()
    found = [method._n_iterations(context(4, block=block)) for block in range(12)]
    assert found == [30] * 3 + [5] * 6 + [1] * 3
    deep = [method._n_iterations(dataclasses.replace(context(4, block=block), n_blocks=24)) for block in range(24)]
    assert deep == [30] * 3 + [5] * 18 + [1] * 3
    shallow = [method._n_iterations(dataclasses.replace(context(4, block=block), n_blocks=4)) for block in range(4)]
    assert shallow == [30] * 3 + [1]
    assert ZeroTPrune(iterations=7)._n_iterations(context(4)) == 7
    assert ZeroTPrune(blocks=(1, 3), iterations=(9, 2))._n_iterations(context(4, block=2)) == 2


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"keep_ratio": 0.0}, r"want a number in \(0, 1\]"),
        ({"similar": -0.1}, "want similar as a share from 0 to 1, got -0.1"),
        ({"similar": 10}, "want similar as a share from 0 to 1, got 10"),
        ({"variance_scale": "none"}, 'want variance_scale "mean" or "sum", got .none.'),
        ({"variances": (0.1,)}, "want variances as two numbers"),
        ({"variances": (0.7, 0.1)}, "want variances as two numbers"),
        ({"blocks": ()}, "want blocks in ascending order"),
        ({"blocks": (3, 1)}, "want blocks in ascending order"),
        ({"blocks": (3, 3)}, "want blocks in ascending order"),
        ({"blocks": (0, 3)}, "want blocks counted from 1, got 0"),
        ({"iterations": 0}, "want at least 1 iteration, got 0"),
        ({"blocks": (1, 2), "iterations": (3, 0)}, "want at least 1 iteration"),
        ({"blocks": (1, 2), "iterations": (3,)}, "want iterations for each of blocks"),
        ({"iterations": (3, 2)}, "want iterations for each of blocks None"),
    ],
)
def test_wrong_fields(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        ZeroTPrune(**wrong)


def test_blocks_that_the_model_does_not_have():
    model = vision.build("vit")
    with pytest.raises(ValueError, match="want blocks up to 4, .* got 5"), prune(model, ZeroTPrune(blocks=(2, 5))):
        pass
