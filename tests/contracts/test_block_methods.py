"""What every method inside a vision transformer promises; a new file in tokenpruner/methods is enrolled by itself."""

from __future__ import annotations

import dataclasses
import importlib
import math

import pytest
import torch

from prunekernels import registry, spec
from tokenpruner.base.token_method import TokenMethod
from tokenpruner.base.vision_transformer import BlockContext, BlockMethod

PACKAGE = "tokenpruner.methods"
NAMES = [name for name in registry.names(PACKAGE) if issubclass(registry.load(PACKAGE, name, TokenMethod), BlockMethod)]
DEPTHS = [2, 3, 12, 24]


def load(name: str) -> type[BlockMethod]:
    return registry.load(PACKAGE, name, BlockMethod)


def make_context(
    method: BlockMethod, n_patches: int, kind: str = "normal", protected: int = 1, dtype: torch.dtype = torch.float32
) -> BlockContext:
    """Four images behind the first of twelve blocks, and only what the method reads."""
    generator = torch.Generator().manual_seed(n_patches)
    n_tokens = n_patches + protected
    hidden = torch.randn(4, n_tokens, 12, generator=generator)
    read = {name: torch.randn(4, 2, n_tokens, 6, generator=generator) for name in ("queries", "keys")}
    if kind == "equal":
        read = {name: value[:, :, :1].expand_as(value).contiguous() for name, value in read.items()}
    elif kind == "twins":
        read = {name: value[:, :, torch.arange(n_tokens) // 2] for name, value in read.items()}
    elif kind == "zero":
        read = {name: torch.zeros_like(value) for name, value in read.items()}
    own = {name: value.to(dtype) for name, value in read.items() if name in method.reads}
    return BlockContext(hidden.to(dtype), 0, 12, protected, protected > 0, **own)


def rows(context: BlockContext, index: list[int]) -> BlockContext:
    changed = {
        name: getattr(context, name)[index]
        for name in ("hidden", "queries", "keys")
        if getattr(context, name) is not None
    }
    return dataclasses.replace(context, **changed)


def check(reduced, context: BlockContext, n: int, merges: bool) -> None:
    """Counts, order, and that nothing is lost that has not been dropped."""
    images, n_tokens, width = context.hidden.shape
    left = n_tokens - n
    assert reduced.hidden.shape == (images, left, width)
    assert reduced.hidden.dtype == context.hidden.dtype
    assert reduced.kept.shape == (images, left)
    assert bool((reduced.kept.diff(dim=1) > 0).all())
    assert torch.equal(reduced.target.gather(1, reduced.kept), torch.arange(left).expand(images, -1))
    for token in range(context.protected):
        assert bool((reduced.target[:, token] == reduced.kept.eq(token).int().argmax(1)).all())
        place = reduced.target[:, token]
        found = reduced.hidden[torch.arange(images), place]
        assert torch.equal(found, context.hidden[:, token])
    if merges:
        assert bool((reduced.target >= 0).all())
        assert torch.equal(reduced.sizes.sum(1), torch.full((images,), float(n_tokens)))
    else:
        assert int((reduced.target < 0).sum()) == images * n
        wanted = context.hidden.gather(1, reduced.kept[..., None].expand(-1, -1, width))
        assert torch.equal(reduced.hidden, wanted)


def test_there_are_some():
    assert {"tome", "zero_tprune"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_is_a_frozen_dataclass_with_defaults(name):
    kind = load(name)
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
    assert not kind().keeps_all
    assert kind(keep_ratio=1.0).keeps_all


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_does(name):
    text = importlib.import_module(f"{PACKAGE}.{name}").__doc__ or ""
    assert len(text.split()) >= 15, "the module's docstring names the paper or the rule"
    assert load(name).__doc__


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_blocks", DEPTHS)
@pytest.mark.parametrize("n_patches", [1, 2, 16, 49, 196])
def test_a_ratio_says_how_many_are_left(name, n_blocks, n_patches):
    for ratio in (0.9, 0.5, 0.25):
        counts = load(name)(keep_ratio=ratio).removals(n_patches, n_blocks)
        assert len(counts) <= n_blocks
        assert all(count >= 0 for count in counts)
        left = n_patches - sum(counts)
        # a method that merges pairs may halve at most
        least = -(-n_patches // 2 ** (n_blocks - 1)) if load(name).merges else 1
        assert left == max(math.ceil(n_patches * ratio - 1e-9), least)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["normal", "equal", "twins", "zero"])
@pytest.mark.parametrize("protected", [0, 1, 2, 5])
def test_counts_are_exact(name, kind, protected):
    method = load(name)()
    for n_patches in (2, 7, 16, 31):
        for n in sorted({1, n_patches // 3, n_patches // 2} - {0}):
            context = make_context(method, n_patches, kind, protected)
            check(method.reduce(context, n), context, n, method.merges)


@pytest.mark.parametrize("name", NAMES)
def test_batch_mates_do_not_matter(name):
    method = load(name)()
    context = make_context(method, 20)
    whole = method.reduce(context, 7)
    for index in ([2], [3, 1], [0, 0]):
        own = method.reduce(rows(context, index), 7)
        assert torch.equal(own.target, whole.target[index])
        torch.testing.assert_close(own.hidden, whole.hidden[index])


@pytest.mark.parametrize("name", NAMES)
def test_is_deterministic_and_changes_nothing(name):
    method, before = load(name)(), torch.get_rng_state()
    context = make_context(method, 20)
    clones = {each.name: getattr(context, each.name) for each in dataclasses.fields(context)}
    clones = {key: value.clone() for key, value in clones.items() if isinstance(value, torch.Tensor)}
    first, second = method.reduce(context, 7), method.reduce(context, 7)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.hidden, second.hidden)
    assert torch.equal(first.target, second.target)
    assert all(torch.equal(getattr(context, key), value) for key, value in clones.items())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_takes_every_dtype(name, dtype):
    method = load(name)()
    context = make_context(method, 20, dtype=dtype)
    check(method.reduce(context, 7), context, 7, method.merges)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_what_is_left(name):
    method = load(name)()
    context = make_context(method, 20)
    context.hidden.requires_grad_()
    reduced = method.reduce(context, 7)
    reduced.hidden.sum().backward()
    reached = context.hidden.grad.abs().sum(-1) > 0
    assert torch.equal(reached, reduced.target >= 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_read_has_to_be_finite(name, bad):
    method = load(name)()
    for field in sorted(method.reads):
        context = make_context(method, 20)
        getattr(context, field)[2, 1, 5, 3] = bad
        with pytest.raises(ValueError, match="NaN|infinity|sum to 1"):
            method.reduce(context, 7)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [0, -0.5, 1.0001, math.nan, True, "0.5"])
def test_wrong_ratios_are_refused(name, wrong):
    with pytest.raises(ValueError, match=r"want a number in \(0, 1\]"):
        load(name)(keep_ratio=wrong)


@pytest.mark.parametrize("name", NAMES)
def test_its_text_form_comes_back(name):
    kind = load(name)
    for method in (kind(), kind(keep_ratio=0.25)):
        text = spec.describe(method)
        assert text.partition(":")[0] == name
        assert spec.build(PACKAGE, text, TokenMethod) == method
