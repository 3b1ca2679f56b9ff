"""Methods put together of parts: the published ones are such, a new one is ten lines, what does not fit is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from prunekernels import spec
from tests.contracts.test_token_methods import make_context
from tokenpruner import Context, Method, prune
from tokenpruner.base.merging.nearest import Nearest
from tokenpruner.base.scorers.class_attention import ClassAttention
from tokenpruner.base.selectors.crops import Crops
from tokenpruner.base.selectors.dpp import Dpp
from tokenpruner.base.token_method import method_from_text
from tokenpruner.methods.cdpruner import CDPruner
from tokenpruner.methods.composed import Composed
from tokenpruner.methods.composed_inside import ComposedInside
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("composed:n_keep=6", CDPruner(n_keep=6)),
        ('composed:scorer="relevance:sign=negative",selector=dpp,n_keep=6', CDPruner(n_keep=6, relevance="negative")),
        ("composed:selector=farthest_point,n_keep=6", DivPrune(n_keep=6)),
    ],
)
def test_published_methods_are_their_parts(text, method):
    made = method_from_text(text)
    for size in (16, 30):
        assert torch.equal(made.select(make_context(size)), method.select(make_context(size)))


def test_published_methods_inside_are_their_parts(model, prompt):
    inputs = prompt([[2, "I", 3, "I", 1], [1, "I", 4]])
    for text, method in (
        ('composed_inside:schedule="one_cut:layer=1",n_keep=4', FastV(layer=1, n_keep=4)),
        ("composed_inside:schedule=even_stages:n=3", PyramidDrop(n_stages=3)),
    ):
        found = []
        for one in (text, method):
            with torch.no_grad(), prune(model, one) as report:
                found.append((model(**inputs).logits, report.images))
        assert torch.equal(found[0][0], found[1][0])
        assert found[0][1] == found[1][1]


def test_crops_by_hand():
    # means of 4 crops: 2, 0, 4, 2; five tokens are shared out as 1.25, 0, 2.5, 1.25
    scores = torch.tensor([1.0, 3.0, 0.0, 0.0, 5.0, 3.0, 2.0, 2.0])
    assert Crops(4).pick(torch.zeros(8, 1), scores, 4).tolist() == [1, 4, 5, 6]
    # raised by 3: shares of 1.5, 4.5, 6 and 3 of 15
    below = torch.tensor([-1.0, -2.0, 2.0, 1.0, 3.0, 3.0, -3.0, 3.0])
    assert Crops(4).pick(torch.zeros(8, 1), below, 5).tolist() == [0, 2, 4, 5, 7]
    # nothing speaks for any of them
    assert Crops(4).pick(torch.zeros(8, 1), torch.zeros(8), 4).tolist() == [0, 2, 4, 6]


def test_dpp_scales_scores_of_any_sign():
    features = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
    scores = torch.arange(12.0)
    wanted = Dpp().pick(features, scores, 5)
    assert torch.equal(Dpp().pick(features, scores - 100, 5), wanted)
    assert torch.equal(Dpp().pick(features, torch.full((12,), -3.0), 5), Dpp().pick(features, torch.ones(12), 5))


def test_nearest_by_hand():
    visual = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.8], [0.6, 0.5]])
    merge = Nearest().merge(Context(visual), torch.tensor([0, 2]))
    assert merge.target.tolist() == [0, 0, 1, 1, 0]
    assert merge.weight is None
    context = make_context(7)
    merge = Nearest(by="keys", weigh_by="class_attention").merge(context, torch.tensor([1, 5]))
    assert torch.equal(merge.weight, context.tower.class_attention)


@dataclass(frozen=True)
class Mine(Method):
    """Rule: attended and diverse tokens, the others merged."""

    keep_ratio: float = 0.25
    scorer = ClassAttention()
    selector = Dpp()
    merging = Nearest()


def test_a_method_of_ones_own_is_its_parts(model, prompt):
    assert Mine().needs == {"visual", "class_attention"}
    assert (Mine().may_merge, Mine().keeps_the_most_important) == (True, False)
    inputs, found = prompt([[2, "I", 3]]), []
    for one in (Mine(), "composed:scorer=class_attention,selector=dpp,merging=nearest,keep_ratio=0.25,tower_layer=-1"):
        with torch.no_grad(), prune(model, one) as report:
            found.append((model(**inputs).logits, report.images))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


def test_no_scores_are_made_for_who_reads_none():
    made = Composed(scorer="class_attention", selector="farthest_point")
    assert made.scorer is None
    assert made.needs == {"visual"}
    inside = ComposedInside(selector="farthest_point", schedule="one_cut:layer=3")
    assert inside.stages(8)[0].reads is None
    assert spec.build("tokenpruner.methods", str(inside), ComposedInside) == inside


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("composed:scorer=last_token", "want one of scorers as ImageScorer, got last_token"),
        ("composed_inside:scorer=relevance", "want one of scorers as LayerScorer, got relevance"),
        ("composed:selector=nearest", "tokenpruner.base.selectors has no 'nearest'; it has anchors, crops, dpp"),
        ("composed:scorer=none", "dpp wants a scorer, got none"),
        ("composed_inside:scorer=none", "top wants a scorer, got none"),
        ("composed:selector=crops:n=0", "want crops of at least 1, got 0"),
        ('composed:merging="nearest:by=pixels"', "nearest.by wants one of visual, keys, got 'pixels'"),
        ("composed_inside:schedule=even_stages:n=1", "want n_stages as a whole number of at least 2, got 1"),
    ],
)
def test_what_does_not_fit_is_refused(text, says):
    with pytest.raises(ValueError, match=says):
        method_from_text(text)
    with pytest.raises(ValueError, match="want one of selectors as Selector, got 3"):
        Composed(selector=3)
