"""What every method inside the decoder promises; a new file in tokenpruner/methods is enrolled by being there."""

from __future__ import annotations

import dataclasses
import importlib
import math

import pytest
import torch

from prunekernels import budget, registry, spec
from tokenpruner.base.inside_decoder import LayerContext, LayerMethod, Stage, check_picks, check_stages
from tokenpruner.base.token_method import TokenMethod
from tokenpruner.models.attention import Attention

PACKAGE = "tokenpruner.methods"
NAMES = [name for name in registry.names(PACKAGE) if issubclass(registry.load(PACKAGE, name, TokenMethod), LayerMethod)]
N_LAYERS = 32


def load(name: str) -> type[LayerMethod]:
    return registry.load(PACKAGE, name, LayerMethod)


def make_context(stage: Stage, n: int = 16, kind: str = "normal", row: int = 0, image: int = 0) -> LayerContext:
    """An image of 16 tokens, `n` of them left, between two tokens of text in front and three behind."""
    generator = torch.Generator().manual_seed(n)
    length = n + 5
    hidden = torch.randn(length, 8, generator=generator)
    q, k = torch.randn(2, 4, length, 8, generator=generator).unbind()
    if kind == "equal":
        hidden[2:-3], k[:, 2:-3] = hidden[2], k[:, 2:3]
    attention = Attention(q, k[:2], scaling=8**-0.5)
    kept = torch.arange(16)[:n]
    text = torch.tensor([0, 1, length - 3, length - 2, length - 1])
    where = torch.arange(2, 2 + n)
    place = hidden[where], kept, 16, stage, where, text, attention, (4, 4), row, image
    # what entered the decoder: all 16 tokens and the text
    embeds = {"embeds": torch.randn(16, 8, generator=generator), "text_embeds": hidden[text] / 2}
    return LayerContext(*place, text_hidden=hidden[text], **embeds)


@pytest.mark.parametrize("name", NAMES)
def test_is_a_frozen_dataclass_with_defaults(name):
    kind = load(name)
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    made = kind()
    assert made == kind()
    assert hash(made) == hash(kind())
    assert made.keeps_all is False


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_does(name):
    text = importlib.import_module(f"{PACKAGE}.{name}").__doc__ or ""
    assert len(text.split()) >= 15, "the module's docstring names the paper or the rule"
    assert load(name).__doc__


@pytest.mark.parametrize("name", NAMES)
def test_its_stages_can_be_had(name):
    stages = load(name)().stages(N_LAYERS)
    assert stages
    check_stages(stages, N_LAYERS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["normal", "equal"])
def test_picks_are_exact_and_repeatable(name, kind):
    method = load(name)()
    for stage in method.stages(N_LAYERS):
        context = make_context(stage, kind=kind)
        before = context.hidden.clone()
        picks = method.select(context)
        check_picks(picks, context, method)
        if stage.keep_ratio is not None:
            assert len(picks) == budget.n_keep(16, stage.keep_ratio)
        assert torch.equal(context.hidden, before)
        assert torch.equal(method.select(make_context(stage, kind=kind)), picks)
        for row, image in ((1, 0), (5, 2)):
            assert torch.equal(method.select(make_context(stage, kind=kind, row=row, image=image)), picks)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["normal", "equal"])
def test_what_it_merges_goes_into_what_it_keeps(name, kind):
    method = load(name)()
    for stage in method.stages(N_LAYERS):
        context = make_context(stage, kind=kind)
        picks = method.select(context)
        merge = method.merge(context, picks)
        if merge is not None:
            merge.check(name, picks, context.n_tokens)
            again = method.merge(make_context(stage, kind=kind, row=5, image=2), picks)
            assert torch.equal(merge.target, again.target)


@pytest.mark.parametrize("name", NAMES)
def test_fewer_tokens_than_the_stage_wants_all_stay(name):
    method = load(name)()
    for stage in method.stages(N_LAYERS):
        if stage.keep_ratio is not None:
            assert method.select(make_context(stage, n=1)).tolist() == [0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "wrong", [{"mode": "fold"}, {"positions": "gaps"}, {"keep_ratio": 0}, {"keep_ratio": math.nan}]
)
def test_wrong_fields_are_refused(name, wrong):
    if next(iter(wrong)) not in {field.name for field in dataclasses.fields(load(name))}:
        pytest.skip("has no such field")
    with pytest.raises(ValueError, match="want"):
        load(name)(**wrong)


@pytest.mark.parametrize("name", NAMES)
def test_its_text_form_comes_back(name):
    kind = load(name)
    for method in (kind(), kind(mode="skip"), kind(mode="route")):
        text = spec.describe(method)
        assert text.partition(":")[0] == name
        assert spec.build(PACKAGE, text, LayerMethod) == method
