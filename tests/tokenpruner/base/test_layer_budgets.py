"""Budgets of methods inside the decoder: a count, an average over the layers, a share of the FLOPs."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tokenpruner import Stage, prune
from tokenpruner.base.layer_budget import solved
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop
from tokenpruner.methods.tome import ToMe


def kept(report):
    """How many tokens are left behind each cut, image by image."""
    return [[len(image.kept) for image in cut] for cut in report.prefills[-1].cuts or (report.prefills[-1].images,)]


def test_the_ratio_comes_first():
    assert FastV(0.5) == FastV(keep_ratio=0.5)
    assert PyramidDrop(0.3).keep_ratio == 0.3
    assert DivPrune(0.1).keep_ratio == 0.1
    assert ToMe(0.5).keep_ratio == 0.5


def test_a_count_is_left_behind_the_last_cut(model, prompt):
    for method, wanted in (
        (FastV(n_keep=5, layer=1), [[5, 5]]),
        # 16, then x 16, then x^2 16 = 4
        (PyramidDrop(n_keep=4, n_stages=3), [[8, 8], [4, 4]]),
        (FastV(n_keep=40, layer=1), [[16, 16]]),
    ):
        with torch.no_grad(), prune(model, method) as report:
            model(**prompt([["I", 2, "I", 3]]))
        assert kept(report) == wanted


def test_an_average_over_the_layers(model, prompt):
    # layers of 16, n and n tokens: an average of 8 wants 4
    for method, wanted in (
        (FastV(n_average=8, layer=1), [[4]]),
        # 16, 16 x and 16 x^2 have a mean of 8 at x = 0.366
        (PyramidDrop(n_average=8, n_stages=3), [[6], [3]]),
    ):
        with torch.no_grad(), prune(model, method) as report:
            model(**prompt([[2, "I", 3]]))
        assert kept(report) == wanted
    with prune(model, FastV(n_average=5, layer=1)), pytest.raises(ValueError, match="n_average of at least 5.333"):
        model(**prompt([[2, "I", 3]]))


@pytest.mark.parametrize("method", [FastV(layer=1), PyramidDrop(n_stages=3)])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_a_share_of_the_flops(model, prompt, method, share):
    """What the report tells, to the next token of each image."""
    method = dataclasses.replace(method, flops_ratio=share)
    for row in ([2, "I", 3], [1, "I", 2, "I", 1]):
        with torch.no_grad(), prune(model, method) as report:
            model(**prompt([row]))
        one_token = 2 * row.count("I") / report.prefills[0].tokens_before[0]
        assert share - 1e-6 <= report.flops_after / report.flops_before <= share + one_token


def test_flops_that_are_not_known_are_refused(model, prompt):
    pruning = prune(model, FastV(flops_ratio=0.5, layer=1))
    model.model.language_model.layers[2].A_log = torch.nn.Parameter(torch.zeros(2))
    with pruning, pytest.raises(ValueError, match="wants a decoder whose FLOPs are known"):
        model(**prompt([[2, "I", 3]]))


@pytest.mark.parametrize("kind", [FastV, PyramidDrop])
def test_one_budget_at_a_time(kind):
    with pytest.raises(ValueError, match="want one of .* got n_keep=5 and flops_ratio=0.5"):
        kind(n_keep=5, flops_ratio=0.5)
    with pytest.raises(ValueError, match="got keep_ratio=0.25 and n_average=5"):
        kind(0.25, n_average=5)
    for wrong in (0, True, 2.5):
        with pytest.raises(ValueError, match="want n_average as a whole number of at least 1"):
            kind(n_average=wrong)
    with pytest.raises(ValueError, match="keep_ratio"):
        kind(flops_ratio=1.5)
    assert kind(flops_ratio=1.0).keeps_all
    assert not kind(n_keep=5).keeps_all


def test_what_is_solved_for():
    assert solved(lambda x: 3 * x, 1.5, "x") == pytest.approx(0.5)
    assert solved(lambda x: x, 2.0, "x") == 1
    with pytest.raises(ValueError, match="want x of at least 2, .* got 1"):
        solved(lambda x: 2 + x, 1.0, "x")
    assert PyramidDrop(n_stages=3).profile(6, 0.5) == (Stage(2, 0.5, 2, "last"), Stage(4, 0.25, 4, "last"))
