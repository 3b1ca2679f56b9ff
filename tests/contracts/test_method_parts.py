"""What every part of a method promises; a new file in `tokenpruner/base/` scorers, selectors, merging or schedules."""

from __future__ import annotations

import dataclasses
import importlib

import pytest
import torch

from prunekernels import registry, spec
from tests.contracts import test_layer_methods, test_token_methods
from tokenpruner.base.before_decoder import ImageScorer, Merging
from tokenpruner.base.inside_decoder import LayerScorer, Stage, check_stages
from tokenpruner.base.layer_budget import Schedule
from tokenpruner.base.parts import FOLDER, Part, Scorer, Selector, part
from tokenpruner.methods.composed import Composed
from tokenpruner.methods.composed_inside import ComposedInside

KINDS = (Scorer, Selector, Merging, Schedule)


def names(kind: type[Part]) -> list[str]:
    return registry.names(f"{FOLDER}.{kind.folder}")


ALL = [(kind, name) for kind in KINDS for name in names(kind)]
SIZES = [2, 7, 16, 30]


@pytest.mark.parametrize(("kind", "name"), ALL, ids=lambda value: getattr(value, "__name__", value))
def test_is_a_frozen_dataclass_whose_text_comes_back(kind, name):
    made = part(name, kind)
    assert made.__dataclass_params__.frozen
    assert made == part(made, kind) == part(name, kind)
    assert hash(made) == hash(part(name, kind))
    assert str(made) == name
    module = importlib.import_module(f"{FOLDER}.{kind.folder}.{name}")
    assert module.__doc__
    assert str(type(made).__doc__).startswith(("Paper: ", "Rule: "))


@pytest.mark.parametrize("name", names(Selector))
@pytest.mark.parametrize("look", ["normal", "equal", "twins", "zero"])
def test_selectors_pick_exactly(name, look):
    selector = part(name, Selector)
    for size in SIZES:
        context = test_token_methods.make_context(size, look)
        features, scores = context.visual, context.tower.class_attention
        before = features.clone(), scores.clone()
        for n in {1, size // 2, size - 1}:
            picks = selector.pick(features, scores, n)
            assert picks.dtype == torch.int64
            assert len(picks) == n
            assert bool((picks.diff() > 0).all())
            assert 0 <= int(picks[0]) <= int(picks[-1]) < size
            assert torch.equal(selector.pick(features, scores, n), picks)
            if not selector.reads_scores:
                assert torch.equal(selector.pick(features, None, n), picks)
        assert torch.equal(features, before[0])
        assert torch.equal(scores, before[1])


@pytest.mark.parametrize("name", [name for name in names(Selector) if part(name, Selector).reads_scores])
def test_selectors_by_scores_want_them(name):
    with pytest.raises(ValueError, match=f"{name} wants scores, got none"):
        part(name, Selector).pick(torch.randn(4, 2), None, 2)


@pytest.mark.parametrize("name", names(Scorer))
def test_scorers_score_every_token(name):
    scorer = part(name, Scorer)
    if isinstance(scorer, ImageScorer):
        context = test_token_methods.make_context(16)
        n = context.size
    else:
        assert isinstance(scorer, LayerScorer)
        context = test_layer_methods.make_context(Stage(2, 0.5, 1))
        n = context.n_tokens
    scores = scorer.score(context)
    assert scores.shape == (n,)
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()
    assert scores.unique().numel() > 1


@pytest.mark.parametrize("name", names(Merging))
def test_merging_fits_what_is_kept(name):
    for size in SIZES:
        context = test_token_methods.make_context(size)
        for n in {1, size // 2, size - 1}:
            picks = torch.arange(n) * size // n
            part(name, Merging).merge(context, picks).check(name, picks, size)


@pytest.mark.parametrize("name", names(Schedule))
def test_schedules_grow_with_what_is_left(name):
    schedule = part(name, Schedule)
    for queries in (None, "last"):
        for n_layers in (4, 7, 32):
            few, many = (schedule.stages(n_layers, x, queries) for x in (0.3, 0.7))
            check_stages(few, n_layers)
            assert [stage.layer for stage in few] == [stage.layer for stage in many]
            assert all(less.keep_ratio < more.keep_ratio for less, more in zip(few, many, strict=True))
            assert all((stage.reads is None) == (queries is None) for stage in few)


@pytest.mark.parametrize("selector", names(Selector))
@pytest.mark.parametrize("scorer", names(Scorer))
def test_any_scorer_goes_with_any_selector(scorer, selector):
    if isinstance(part(scorer, Scorer), ImageScorer):
        for merging in (None, *names(Merging)):
            made = Composed(scorer=scorer, selector=selector, merging=merging, n_keep=5)
            assert spec.build("tokenpruner.methods", str(made), Composed) == made
            context = test_token_methods.make_context(16)
            picks = made.select(context)
            assert len(picks) == 5
            assert (made.merge(context, picks) is None) == (merging is None)
        return
    for schedule in names(Schedule):
        made = ComposedInside(scorer=scorer, selector=selector, schedule=schedule)
        assert spec.build("tokenpruner.methods", str(made), ComposedInside) == made
        assert dataclasses.replace(made, keep_ratio=0.25).profile(32, 0.25)
        for stage in made.stages(32):
            assert len(made.select(test_layer_methods.make_context(stage))) == max(1, round(16 * stage.keep_ratio))
