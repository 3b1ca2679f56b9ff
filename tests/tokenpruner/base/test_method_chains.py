"""A chain by itself: what it is made of, how its budget is split, what it refuses."""

from __future__ import annotations

import dataclasses

import pytest

from prunekernels import budget, spec
from tokenpruner.base.method_chain import MethodChain
from tokenpruner.base.token_method import method_from_text
from tokenpruner.methods.atp import ATP
from tokenpruner.methods.chain import Chain
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.evs import EVS
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop
from tokenpruner.methods.stride import Stride
from tokenpruner.report.flops import LayerCost

# a layer of LLaVA-1.5-7B: 4096 wide, 11008 inside
COSTS = [LayerCost(2 * (4 * 4096**2 + 3 * 4096 * 11008), 4 * 4096)] * 32


def spent(before: int, behind: int, layer: int, n_others: int = 60, size: int = 576) -> float:
    """The share of the FLOPs, by hand: `before` tokens up to `layer`, `behind` from there on."""

    def of(n: int) -> int:
        return COSTS[0].flops(n_others + n)

    return (layer * of(before) + (32 - layer) * of(behind)) / (32 * of(size))


def test_the_text_form_comes_back():
    made = Chain((DivPrune(n_keep=64), PyramidDrop(n_stages=3, keep_ratio=0.3)))
    assert str(made) == "divprune:n_keep=64 + pyramiddrop:keep_ratio=0.3,n_stages=3"
    text = spec.describe(made)
    assert text == 'chain:methods=divprune:n_keep=64/"pyramiddrop:keep_ratio=0.3,n_stages=3"'
    assert method_from_text(text) == made
    open_one = method_from_text("chain:methods=visionzip/fastv,flops_ratio=0.4,positions=keep")
    assert open_one == Chain(("visionzip", "fastv"), 0.4, "keep")
    assert method_from_text(spec.describe(open_one)) == open_one
    assert dataclasses.replace(open_one, positions="compact").methods == open_one.methods
    assert hash(open_one) == hash(Chain(("visionzip", "fastv"), 0.4, "keep"))


@pytest.mark.parametrize("share", [0.1, 0.4, 0.75, 0.97])
def test_methods_that_say_nothing_share_the_budget(share):
    split = Chain(("stride", "fastv"), share).split([576], 60, COSTS)
    assert split.before.keep_ratio == split.inside.keep_ratio == split.x
    n = budget.n_keep(576, split.x)
    found = spent(n, budget.n_keep(n, split.x), 2)
    assert split.layers([576], 32) == [n] * 2 + [budget.n_keep(n, split.x)] * 30
    # the most that the budget lets through: one token more of either would be too many
    assert share - 0.004 < found <= share
    assert spent(n + 1, budget.n_keep(n + 1, split.x) + 1, 2) > share


def test_who_says_how_many_keeps_them():
    split = Chain(("stride:n_keep=300", "fastv"), 0.3).split([576], 60, COSTS)
    assert split.before == Stride(n_keep=300)
    assert 0.297 < spent(300, budget.n_keep(300, split.x), 2) <= 0.3
    split = Chain(("stride", "fastv:n_keep=30,layer=8"), 0.3).split([576], 60, COSTS)
    assert split.inside == FastV(n_keep=30, layer=8)
    assert 0.297 < spent(budget.n_keep(576, split.x), 30, 8) <= 0.3
    # nothing of fewer tokens than it asks for
    split = Chain(("stride", "fastv:n_keep=500"), 0.3).split([576], 60, COSTS)
    n = budget.n_keep(576, split.x)
    assert split.layers([576], 32) == [n] * 32


def test_one_method_alone_has_a_budget_of_flops_too():
    split = Chain(("stride",), 0.4).split([576, 144], 60, COSTS)
    assert (split.inside, split.before.keep_ratio) == (None, split.x)
    n = sum(budget.n_keep(size, split.x) for size in (576, 144))
    found = COSTS[0].flops(60 + n) / COSTS[0].flops(60 + 720)
    assert 0.396 < found <= 0.4
    split = Chain(("pyramiddrop",), 0.6).split([576], 60, COSTS)
    assert (split.before, split.inside.keep_ratio) == (None, split.x)


def test_a_budget_of_all_keeps_all():
    assert Chain(("stride", "fastv"), 1.0).keeps_all
    assert not Chain(("stride:n_keep=9", "fastv"), 1.0).keeps_all
    assert not Chain().keeps_all
    assert Chain(("stride:keep_ratio=1", "fastv:keep_ratio=1")).keeps_all
    assert Chain(("stride", "fastv"), 1.0).split([576], 60, COSTS).x == 1


def test_budgets_that_cannot_be_met_are_refused():
    with pytest.raises(ValueError, match=r"row 3: want flops_ratio of at least 0.1\d+ for stride \+ fastv, got 0.05"):
        Chain(("stride", "fastv"), 0.05).split([576], 100, COSTS, 3)
    with pytest.raises(ValueError, match="wants a decoder whose FLOPs are known"):
        Chain(("stride", "fastv"), 0.5).split([576], 100, [*COSTS[:-1], None])


def test_where_its_tokens_stand():
    assert Chain(("divprune", "pyramiddrop"), positions="published").published_positions == "compact"
    with pytest.raises(ValueError, match=r"the authors of divprune \+ fastv do not agree"):
        Chain(("divprune", "fastv"), positions="published")
    assert Chain(("evs", "fastv"), positions="published").published_positions == "keep"
    assert EVS.published_positions == "keep"
    # trained with tokens at their places
    assert Chain(("divprune", ATP())).wanted_positions == "keep"
    assert Chain(("divprune", "fastv")).wanted_positions == "auto"


@pytest.mark.parametrize(
    ("methods", "fields", "says"),
    [
        ((), {}, "want at least one method in a chain, got none"),
        (("fastv", "divprune"), {}, "want at most one method before the decoder, first, and one inside it"),
        (("divprune", "stride"), {}, "want at most one method before the decoder, first, and one inside it"),
        (("fastv", "pyramiddrop"), {}, "want at most one method before the decoder, first, and one inside it"),
        (("tome",), {}, "want methods before or inside the decoder in a chain, got tome"),
        ((3,), {}, "want methods before or inside the decoder in a chain, got 3"),
        (("chain",), {}, "want methods before or inside the decoder in a chain, got divprune"),
        (("divprune:positions=keep",), {}, "want positions of the chain alone, got positions=keep of divprune"),
        (("divprune", "fastv:mode=skip"), {}, 'want mode="drop" in a chain'),
        (("divprune", "atp"), {"flops_ratio": 0.5}, "want no flops_ratio with atp, which decides by itself"),
        (("divprune", "fastv:flops_ratio=0.5"), {"flops_ratio": 0.5}, "want flops_ratio of the chain alone"),
        (("divprune:n_keep=4",), {"flops_ratio": 0.5}, "want no flops_ratio where every method says how many"),
        (("divprune",), {"flops_ratio": 0.0}, "want a number in"),
        (("divprune",), {"positions": "gaps"}, 'want positions "auto", '),
        (("divprune",), {"positions": "calibrated"}, 'positions="calibrated" wants one method before the decoder'),
    ],
)
def test_what_no_chain_is(methods, fields, says):
    with pytest.raises(ValueError, match=says):
        Chain(methods, **fields)
    assert issubclass(Chain, MethodChain)
