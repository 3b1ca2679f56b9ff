"""Uniform sampling over the grid, by itself and as an add-on to another method."""

from __future__ import annotations

import math

import pytest
import torch

from tokenpruner.base.before_decoder import Context
from tokenpruner.methods import _uniform_sampling
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.spatial import Spatial

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def places(size, grid, rate):
    return _uniform_sampling.sampled(size, (grid,) if grid else (), rate).nonzero().flatten().tolist()


def test_sampled_by_hand():
    # a stride of 2 both ways, of 4 both ways, of 2 along a line
    assert places(16, (4, 4), 0.25) == [5, 7, 13, 15]
    assert places(16, (4, 4), 0.0625) == [10]
    assert places(24, (4, 6), 0.25) == [7, 9, 11, 19, 21, 23]
    assert places(8, None, 0.5) == [1, 3, 5, 7]
    assert places(16, (4, 4), 1.0) == list(range(16))
    # the paper's image: a stride of 2 leaves a quarter, of 4 a sixteenth, of the root of 2 about half
    assert [len(places(576, (24, 24), rate)) for rate in (0.25, 0.0625, 0.5)] == [144, 36, 289]


def test_an_image_of_one_token_or_of_one_line_is_sampled():
    assert places(1, (1, 1), 0.01) == [0]
    assert places(1, None, 0.01) == [0]
    assert places(5, (1, 5), 0.0625) == [2]


def test_each_part_of_a_cut_up_image_is_sampled():
    sampled = _uniform_sampling.sampled(4 + 24, ((2, 2), (4, 6)), 0.25)
    assert sampled.nonzero().flatten().tolist() == [3, *(4 + place for place in [7, 9, 11, 19, 21, 23])]


def test_spatial_scores_by_hand():
    scores = _uniform_sampling.scores(16, [(4, 4)], 0.25, 3.0)
    assert scores[[5, 7, 13, 15]].tolist() == [0.25] * 4
    assert scores.sum() == 1
    # three samples of half the tokens are worth nothing
    assert _uniform_sampling.scores(4, [(2, 2)], 0.5, 3.0).tolist() == [0, 0, 0, -0.5]


@pytest.mark.parametrize("wrong", [0, -0.1, 1.5, math.nan, True, "0.5"])
def test_wrong_sampling_rates(wrong):
    with pytest.raises(ValueError, match=r"want a sampling rate in \(0, 1\]"):
        _uniform_sampling.sampled(4, (), wrong)
    with pytest.raises(ValueError, match=r"want a sampling rate in \(0, 1\]"):
        Spatial(rate=wrong)


def image(size, seed=0):
    side = math.isqrt(size)
    visual = torch.randn(size, 8, generator=torch.Generator().manual_seed(seed))
    return Context(visual, (side, side) if side * side == size else None)


def test_the_add_on_keeps_the_sample_and_fills_up():
    context, method = image(64), Spatial(keep_ratio=0.25, rate=0.0625)
    sample = places(64, (8, 8), 0.0625)
    kept = method.select(context).tolist()
    assert len(kept) == 16
    assert set(sample) <= set(kept)
    # the rest is what the method keeps of the others
    others = [token for token in range(64) if token not in sample]
    alone = DivPrune(keep_ratio=12 / 60).select(Context(context.visual[others]))
    assert sorted(set(kept) - set(sample)) == [others[token] for token in alone.tolist()]


def test_the_add_on_takes_the_most_important_of_the_others(monkeypatch):
    from tokenpruner.methods.random import Random

    monkeypatch.setattr(Random, "importance", lambda self, context: -torch.arange(context.size).float())
    kept = Spatial(keep_ratio=0.25, method="random", rate=0.0625).select(image(16)).tolist()
    assert kept == [0, 1, 2, 10]


def test_a_sample_above_the_count_is_the_even_grid():
    kept = Spatial(keep_ratio=0.0625, rate=0.25).select(image(64)).tolist()
    assert kept == [18, 22, 50, 54]


def test_the_add_on_reads_what_its_method_reads():
    assert Spatial().needs == DivPrune().needs
    assert not Spatial(method="stride").needs
    for wrong in ("spatial", "atp", "pool", "nothing"):
        with pytest.raises(ValueError, match=f"'{wrong}'"):
            Spatial(method=wrong)
