"""What every method before the decoder promises; a new file in tokenpruner/methods is enrolled by being there."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from prunekernels import budget, registry, spec
from tokenpruner.base.before_decoder import Context, Method
from tokenpruner.base.token_method import TokenMethod
from tokenpruner.models.tower_reading import TOWER, TowerReading

PACKAGE = "tokenpruner.methods"
NAMES = [name for name in registry.names(PACKAGE) if issubclass(registry.load(PACKAGE, name, TokenMethod), Method)]
SIZES = [1, 2, 7, 16, 30, 64]


def load(name: str) -> type[Method]:
    return registry.load(PACKAGE, name, Method)


def make_context(size: int, kind: str = "normal", row: int = 0, image: int = 0) -> Context:
    """An image of `size` tokens, eight numbers each; a grid where the size is a square."""
    generator = torch.Generator().manual_seed(size)
    visual = torch.randn(size, 8, generator=generator)
    if kind == "equal":
        visual = visual[:1].expand(size, 8).clone()
    elif kind == "twins":
        visual = visual[torch.arange(size) // 2]
    elif kind == "zero":
        visual = torch.zeros(size, 8)
    side = math.isqrt(size)
    text = torch.randn(5, 8, generator=generator)
    # attention and keys of a vision tower whose token is each patch
    attention = (torch.zeros(size) if kind == "zero" else visual.sum(1)).softmax(0)
    tower = TowerReading(attention, attention.flip(0), visual.clone().unflatten(1, (2, 4)))
    return Context(visual, (side, side) if side * side == size else None, row, image, text, tower=tower)


def ratio(n: int, size: int) -> float:
    found = n / size
    assert budget.n_keep(size, found) == n
    return found


@pytest.mark.parametrize("name", NAMES)
def test_is_a_frozen_dataclass_with_defaults(name):
    kind = load(name)
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    made = kind()
    assert made == kind()
    assert hash(made) == hash(kind())
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.keep_ratio = 0.3


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_does(name):
    import importlib

    text = importlib.import_module(f"{PACKAGE}.{name}").__doc__ or ""
    assert len(text.split()) >= 15, "the module's docstring names the paper or the rule"
    assert load(name).__doc__


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["normal", "equal", "twins", "zero"])
def test_counts_are_exact(name, size, kind):
    for n in sorted({1, 2, size // 3, size // 2, size - 1, size} - {0}):
        if n > size:
            continue
        picks = load(name)(keep_ratio=ratio(n, size)).select(make_context(size, kind))
        assert picks.dtype == torch.int64
        assert picks.shape == (n,)
        assert bool((picks.diff() > 0).all())
        assert 0 <= int(picks[0]) <= int(picks[-1]) < size


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_exact_however_they_are_said(name):
    kind, context = load(name), make_context(30)
    assert len(kind(n_keep=7).select(context)) == 7
    assert len(kind(n_keep=31).select(context)) == 30
    assert len(kind(n_keep_row=11, n_keep_least=2).select(context)) == 11
    assert len(kind(n_keep_row=11, n_keep_least=0).select(context, 0)) == 0
    assert torch.equal(kind(n_keep=12).select(context), kind(keep_ratio=0.4).select(context))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_what_it_merges_fits_what_it_keeps(name, size):
    for n in range(1, size):
        method, context = load(name)(n_keep=n), make_context(size)
        picks = method.select(context)
        merge = method.merge(context, picks)
        if merge is not None:
            merge.check(name, picks, size)
            assert method.merge(make_context(size, row=3), picks).target.equal(merge.target)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [16, 30])
def test_batch_mates_do_not_matter(name, size):
    method = load(name)(keep_ratio=0.4)
    alone = method.select(make_context(size))
    for row in (1, 5):
        assert torch.equal(method.select(make_context(size, row=row)), alone)


@pytest.mark.parametrize("name", NAMES)
def test_is_deterministic_and_leaves_the_global_generator_alone(name):
    method, before = load(name)(keep_ratio=0.4), torch.get_rng_state()
    first = method.select(make_context(30))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(method.select(make_context(30)), first)
    assert torch.equal(load(name)(keep_ratio=0.4).select(make_context(30)), first)


@pytest.mark.parametrize("name", NAMES)
def test_does_not_modify_its_input(name):
    context = make_context(30)
    visual, text = context.visual.clone(), context.text.clone()
    load(name)(keep_ratio=0.4).select(context)
    assert torch.equal(context.visual, visual)
    assert torch.equal(context.text, text)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_takes_every_dtype(name, dtype):
    context = make_context(30)
    context = dataclasses.replace(context, visual=context.visual.to(dtype), text=context.text.to(dtype))
    assert load(name)(keep_ratio=0.4).select(context).shape == (12,)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [0, 0.0, -0.5, 1.0001, 1.5, 2, math.nan, math.inf, True, None, "0.5"])
def test_wrong_ratios_are_refused(name, wrong):
    with pytest.raises(ValueError, match=r"want a number in \(0, 1\]"):
        load(name)(keep_ratio=wrong)


@pytest.mark.parametrize("name", NAMES)
def test_keeping_everything_reads_nothing(name):
    context = make_context(16)
    context.visual[3, 2] = torch.nan
    assert load(name)(keep_ratio=1.0).select(context).tolist() == list(range(16))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_features_that_are_read_have_to_be_finite(name, bad):
    method, context = load(name)(keep_ratio=0.4), make_context(30, row=2, image=1)
    clean = method.select(context)
    context.visual[7, 3] = bad
    if "visual" in method.needs:
        with pytest.raises(ValueError, match="visual embedding 7 of image 1 of row 2 has NaN or infinity"):
            method.select(context)
    else:
        assert torch.equal(method.select(context), clean), "reads features that it does not name in `needs`"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("need", sorted(TOWER))
def test_what_is_read_of_the_tower_has_to_be_there_and_finite(name, need):
    method, context = load(name)(keep_ratio=0.4), make_context(30, row=2, image=1)
    clean, without = method.select(context), dataclasses.replace(context.tower, **{need: None})
    getattr(context.tower, need)[7] = math.nan
    for given in (context, dataclasses.replace(context, tower=without)):
        if need in method.needs:
            with pytest.raises(ValueError, match=f"{need} of .* image 1 of row 2"):
                method.select(given)
        else:
            assert torch.equal(method.select(given), clean), "reads what it does not name in `needs`"


@pytest.mark.parametrize("name", NAMES)
def test_its_text_form_comes_back(name):
    kind = load(name)
    for method in (kind(), kind(keep_ratio=0.25, positions="compact")):
        text = spec.describe(method)
        assert text.partition(":")[0] == name
        assert spec.build(PACKAGE, text, Method) == method
    with pytest.raises(ValueError, match=f"{name} has no field 'ratio'; it has keep_ratio"):
        spec.build(PACKAGE, f"{name}:ratio=0.5", Method)
