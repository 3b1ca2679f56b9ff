"""Training through ATP: gradients are those of the replay, checkpointing changes nothing, the modules learn."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.tokenpruner.checkpointing import checkpoint, no_checkpoint
from tests.tokenpruner.methods.atp_replay import (
    IGNORED,
    IMAGE,
    RAGGED,
    N,
    close,
    replay,
    trained,
)
from tokenpruner import prune
from tokenpruner.methods.atp import ATP
from tokenpruner.methods.fastv import FastV
from tokenpruner.models.decoder_layers import check_recomputed
from tokenpruner.training import ATPLoss, ATPModules, soften


@pytest.fixture
def modules():
    return trained()


@pytest.fixture
def method(modules, tmp_path):
    return ATP(layers=(1, 2), rates=(0.25, 0.0625), sample_weight=1.6, weights=str(modules.save(tmp_path)))


def gradients(parameters, loss):
    return torch.autograd.grad(loss, parameters, allow_unused=True)


def test_gradients_are_those_of_the_replay(model, prompt, singles, modules, method):
    inputs = prompt(RAGGED, "right")
    parameters = [*modules.parameters(), *model.parameters()]
    weights = torch.randn(64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with soften(model, method, modules) as masks:
        logits = model(**inputs).logits
        loss = (logits.log_softmax(-1) @ weights)[inputs["attention_mask"].bool()].mean() + ATPLoss()(masks.kept)
    found = gradients(parameters, loss)
    runs = [replay(model, alone, method, modules, temperature=10.0) for alone in singles(inputs)]
    counts = torch.cat([run.counts for run in runs if len(run.counts)])
    mean = (N + counts[:, 0] + counts[:, 1]) / 3
    depth, target = (counts / N * torch.tensor([1, 2])).sum(1).mean(), (mean - 0.25 * N).mean().abs()
    wanted = torch.cat([run.logits.log_softmax(-1) @ weights for run in runs]).mean() + 0.05 * depth + 0.2 * target
    close(loss, wanted)
    expected = gradients(parameters, wanted)
    n_modules = len([*modules.parameters()])
    assert all(gradient.abs().max() > 0 for gradient in found[:n_modules])
    for got, own in zip(found, expected, strict=True):
        assert (got is None) == (own is None)
        if own is not None:
            # the library's norms and rotations are in float32
            assert (got - own).abs().max() <= 1e-4 * own.abs().max() + 1e-7


def test_checkpointing_that_runs_hooks_again_is_refused(model, monkeypatch):
    layer = model.model.language_model.layers[0]
    # older transformers checkpoints the call of a layer, hooks and all
    monkeypatch.setattr(type(layer), "__call__", lambda self, *args, **kwargs: None, raising=False)
    monkeypatch.setattr(type(layer), "gradient_checkpointing", True)
    with pytest.raises(ValueError, match="runs hooks again"):
        check_recomputed(layer.train())
    check_recomputed(layer.eval())


def test_gradient_checkpointing_changes_nothing(model, prompt, modules, method, checkpointed_hooks):
    if checkpointed_hooks:
        pytest.skip("this transformers runs hooks again, which is refused")
    inputs = prompt(RAGGED, "right")
    labels = inputs["input_ids"].masked_fill((inputs["input_ids"] == IMAGE) | (inputs["input_ids"] == 0), IGNORED)
    parameters, found = [*modules.parameters(), *model.parameters()], []
    model.train()
    for _ in range(2):
        with soften(model, method, modules) as masks:
            loss = model(**inputs, labels=labels, use_cache=False).loss + ATPLoss()(masks.kept)
        found.append((loss, gradients(parameters, loss)))
        checkpoint(model, False)
    assert torch.equal(found[0][0], found[1][0])
    for got, own in zip(found[1][1], found[0][1], strict=True):
        assert (own is None and got is None) or torch.equal(got, own)
    no_checkpoint(model)
    checkpoint(model, True)
    with soften(model, method, modules), pytest.raises(ValueError, match="want checkpointing with the setting"):
        model(**inputs, use_cache=False)


def answered(inputs, n_answer, seed):
    """Labels on the last tokens, which are others for each seed."""
    labels = torch.full_like(inputs["input_ids"], IGNORED)
    changed = inputs["input_ids"].clone()
    changed[:, -n_answer:] = torch.randint(
        6, 62, (len(labels), n_answer), generator=torch.Generator().manual_seed(seed)
    )
    labels[:, -n_answer:] = changed[:, -n_answer:]
    return inputs | {"input_ids": changed, "labels": labels}


def test_answers_have_no_say(model, prompt, modules, method):
    inputs = prompt([[2, "I", 7], ["I", 5]])
    with torch.no_grad():
        with soften(model, method, modules) as masks:
            counts = []
            for seed in (1, 2):
                model(**answered(inputs, 3, seed))
                counts.append(masks.kept.counts)
            model(**{**answered(inputs, 3, 1), "labels": None})
            unlabelled = masks.kept.counts
        assert torch.equal(*counts)
        assert not torch.equal(unlabelled, counts[0])
        for way in (method, FastV(keep_ratio=0.25, layer=1)):
            with prune(model, way) as report:
                for seed in (1, 2):
                    model(**answered(inputs, 3, seed))
                # as when the answer is yet to be told
                model(**{name: value[:, :-3] if value.ndim == 2 else value for name, value in inputs.items()})
            kept = [[image.kept for image in prefill.images] for prefill in report.prefills]
            assert kept[0] == kept[1] == kept[2]


def test_dropping_inside_the_decoder_trains_too(model, prompt, singles, modules, method):
    batch = answered(prompt([[2, "I", 7], ["I", 5], [8]]), 3, 1)
    with prune(model, method):
        loss = model(**batch).loss
    losses = []
    for row, alone in enumerate(singles(batch)):
        run = replay(model, alone, method, modules, n_prompt=len(alone["input_ids"][0]) - 3)
        for place, label in zip((-4, -3, -2), batch["labels"][row, -3:], strict=True):
            losses.append(-run.logits[place].log_softmax(-1)[label])
    wanted = torch.stack(losses).mean()
    close(loss, wanted)
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    for got, own in zip(gradients(parameters, loss), gradients(parameters, wanted), strict=True):
        assert (own is None and got is None) or (got - own).abs().max() <= 1e-4 * own.abs().max() + 1e-7


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_dropping_and_gradient_checkpointing(model, prompt, method, use_reentrant, checkpointed_hooks):
    if checkpointed_hooks:
        pytest.skip("this transformers runs hooks again, which is refused")
    batch, found = answered(prompt([[2, "I", 7], ["I", 5], [8]]), 3, 1), []
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    model.train()
    for _ in range(2):
        with prune(model, method):
            loss = model(**batch, use_cache=False).loss
        model.zero_grad()
        loss.backward()
        found.append((loss, [None if weight.grad is None else weight.grad.clone() for weight in parameters]))
        checkpoint(model, use_reentrant)
    assert torch.equal(found[0][0], found[1][0])
    for got, own in zip(found[1][1], found[0][1], strict=True):
        assert (own is None and got is None) or torch.equal(got, own)


def steps(model, modules, parameters, method, batch, n_steps=25):
    """Losses and mean tokens over some steps."""
    optimizer, found = torch.optim.AdamW(parameters, lr=2e-2), []
    goal = ATPLoss(keep_ratio=0.5)
    with soften(model, method, modules) as masks:
        for _ in range(n_steps):
            loss = model(**batch).loss + goal(masks.kept)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append((loss.item(), masks.kept.mean.mean().item()))
    return found


@pytest.mark.parametrize("frozen", [True, False])
def test_modules_learn_how_many_tokens_to_keep(model, prompt, frozen, tmp_path):
    model.float().requires_grad_(not frozen)
    batch = answered(prompt([[2, "I", 7], ["I", 5]]), 3, 1)
    batch["pixel_values"] = batch["pixel_values"].float()
    modules = ATPModules((1, 2), width=8)
    method = ATP(layers=(1, 2), rates=(0.25, 0.0625))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    parameters = [*modules.parameters()] + ([] if frozen else [*model.parameters()])
    found = steps(model, modules, parameters, method, batch)
    assert found[-1][0] < found[0][0]
    assert abs(found[-1][1] - N / 2) < 0.5 * abs(found[0][1] - N / 2)
    changed = [name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])]
    assert bool(changed) is not frozen
    # what the masks hide, once they are hard, is what pruning drops
    modules.save(tmp_path)
    with torch.no_grad(), soften(model, method, modules, temperature=1e8) as masks:
        model(**batch)
    with torch.no_grad(), prune(model, dataclasses.replace(method, weights=str(tmp_path))) as report:
        model(**batch)
    dropped = [[len(image.kept) for image in cut] for cut in report.prefills[0].cuts]
    assert masks.kept.counts.round().T.tolist() == dropped
    assert dropped[0] != [N, N]
