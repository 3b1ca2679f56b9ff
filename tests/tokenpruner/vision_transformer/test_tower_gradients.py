"""Gradients through merged and dropped tokens, by hand and with gradient checkpoints."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.tokenpruner import vision_models as vision
from tests.tokenpruner.checkpointing import checkpoint
from tests.tokenpruner.methods.test_tome import merge, mergeable
from tests.tokenpruner.vision_transformer.test_every_block_method import Received, allowed
from tokenpruner import prune
from tokenpruner.methods.tome import ToMe
from tokenpruner.methods.zero_tprune import ZeroTPrune

METHODS = (ToMe(r=3), ZeroTPrune(keep_ratio=0.3, similar=0.2), Received())


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return found


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-8, atol=1e-9, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("name", vision.TOWERS)
def test_gradients_of_merging_by_hand(name):
    model, images, counts = mergeable(name), vision.pixels(2), (3, 0, 4, 2)
    weight = torch.randn(16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model.train()
    with prune(model, ToMe(r=counts)):
        output = model(images)
    ((output.pooler_output @ weight).square().sum() + output.last_hidden_state.square().sum()).backward()
    got = gradients(model)
    loss = torch.zeros((), dtype=torch.float64)
    for image in images:
        hidden = vision.entered(model, image[None])[0]
        sizes = torch.ones(len(hidden), dtype=torch.float64)
        for block, r in zip(vision.blocks(model), counts, strict=True):
            hidden, _, keys = vision.worked(block, hidden, sizes)
            if r:
                hidden, sizes, _ = merge(hidden, keys.detach(), sizes, r, vision.FIRST[name])
        last = vision.finished(model, hidden)
        loss = loss + (vision.pooled(model, last, sizes) @ weight).square() + last.square().sum()
    loss.backward()
    assert_same(got, gradients(model))


@pytest.mark.parametrize("name", ["vit", "dinov2", "siglip"])
def test_gradients_of_dropping_by_hand(name):
    """The choice is taken from a pass without gradients; the rest is indexing."""
    model, images, first = vision.build(name), vision.pixels(1), vision.FIRST[name]
    model.train()
    with prune(model, Received()) as report:
        model(images).last_hidden_state.square().sum().backward()
    got, kept = gradients(model), [place + first for place in report.images[0].kept]
    # which of the sixteen were left behind the first cut
    with torch.no_grad(), prune(model, Received()):
        hidden = vision.entered(model, images)[0]
        for block in vision.blocks(model)[:2]:
            hidden, q, k = vision.worked(block, hidden, torch.ones(len(hidden), dtype=torch.float64))
    votes = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).sum(1).mean(0)[first:]
    half = [*range(first), *sorted(first + int(place) for place in votes.argsort(descending=True)[:8])]
    hidden, places = vision.entered(model, images)[0], list(range(first + vision.N))
    for block, stays in zip(vision.blocks(model), (None, half, [*range(first), *kept], None), strict=True):
        hidden, _, _ = vision.worked(block, hidden, torch.ones(len(hidden), dtype=torch.float64))
        if stays is not None:
            hidden, places = hidden[[places.index(place) for place in stays]], stays
    vision.finished(model, hidden).square().sum().backward()
    assert_same(got, gradients(model))


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("name", ["vit", "dinov2_labels", "clip_labels", "siglip"])
def test_gradient_checkpoints_change_nothing(name, method, reentrant):
    """The backward pass may come when the model is no longer pruned."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    model, images = vision.build(name), vision.pixels()
    allowed(model, method)
    model.train()
    inputs = {"pixel_values": images} | ({"labels": torch.tensor([0, 2])} if "labels" in name else {})

    def trained() -> dict[str, torch.Tensor]:
        with prune(model, method) as report:
            output = model(**inputs)
        assert report.visual_after < report.visual_before
        loss = output.loss if "labels" in name else output.pooler_output.square().sum()
        loss.backward()
        return gradients(model)

    plain = trained()
    checkpoint(model, reentrant)
    if "__call__" not in vars(GradientCheckpointingLayer):
        assert_same(trained(), plain)
        return
    # older releases run a block's hooks inside its checkpoint
    with pytest.raises(ValueError, match="runs a block's hooks twice"):
        trained()
    model.eval()
    with prune(model, method):
        model(**inputs)


def test_a_training_step_lowers_the_loss():
    model, images, labels = vision.build("vit_labels"), vision.pixels(4), torch.tensor([0, 1, 2, 0])
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = []
    with prune(model, ToMe(r=3)):
        for _ in range(3):
            loss = model(images, labels=labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
    assert losses[2] < losses[1] < losses[0]
