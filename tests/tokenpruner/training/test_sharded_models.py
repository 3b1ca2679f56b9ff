"""Pruning a wrapped model: DDP and sharded parameters (FSDP2), in a group of one process."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from tests.tokenpruner.checkpointing import checkpoint
from tokenpruner import prune
from tokenpruner.methods.atp import ATP
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.training import ATPLoss, ATPModules, soften

METHOD = DivPrune(keep_ratio=0.25)
RAGGED = [[2, "I", 3], ["I", 4, "I", 2], [5], [3, "I", "I", 1]]


@pytest.fixture(scope="module")
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def batch(prompt):
    inputs = prompt(RAGGED, "right")
    unlabelled = (inputs["attention_mask"] == 0) | (inputs["input_ids"] == 5)
    return inputs | {"labels": inputs["input_ids"].masked_fill(unlabelled, -100)}


def trained(model, batch, method=METHOD):
    """The loss, and by parameter its gradient."""
    model.train()
    with prune(model, method):
        loss = model(**batch, use_cache=False).loss
        loss.backward()
    found = {name.removeprefix("module."): weight.grad for name, weight in model.named_parameters()}
    return loss, {name: getattr(grad, "full_tensor", lambda grad=grad: grad)() for name, grad in found.items()}


def same(got, wanted):
    assert torch.equal(got[0], wanted[0])
    assert got[1].keys() == wanted[1].keys()
    for name, grad in wanted[1].items():
        assert (grad is None and got[1][name] is None) or torch.equal(got[1][name], grad), name


def test_ddp(group, make_model, batch):
    wanted = trained(make_model(), batch)
    same(trained(torch.nn.parallel.DistributedDataParallel(make_model(), find_unused_parameters=True), batch), wanted)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_sharded(group, make_model, batch, checkpointing):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    wanted, model, mesh = trained(make_model(), batch), make_model(), init_device_mesh("cpu", (1,))
    if checkpointing:
        checkpoint(model, False)
    for layer in model.model.language_model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    same(trained(model, batch), wanted)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_learned_thresholds_are_sharded_with_the_model(group, make_model, batch, checkpointing, checkpointed_hooks):
    if checkpointing and checkpointed_hooks:
        pytest.skip("this transformers runs hooks again, which is refused")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    method, goal, found = ATP(layers=(1, 2), rates=(0.25, 0.0625)), ATPLoss(), []
    for is_sharded in (False, True):
        model = make_model()
        torch.manual_seed(0)
        # part of the model before it is wrapped
        model.atp = ATPModules((1, 2), width=8).double()
        for weight in model.atp.parameters():
            torch.nn.init.normal_(weight)
        if checkpointing and is_sharded:
            checkpoint(model, False)
        if is_sharded:
            mesh = init_device_mesh("cpu", (1,))
            for layer in model.model.language_model.layers:
                fully_shard(layer, mesh=mesh)
            fully_shard(model, mesh=mesh)
        model.train()
        with soften(model, method, model.atp) as masks:
            loss = model(**batch, use_cache=False).loss + goal(masks.kept)
            loss.backward()
        grads = {name: weight.grad for name, weight in model.named_parameters()}
        found.append((loss, {name: getattr(own, "full_tensor", lambda own=own: own)() for name, own in grads.items()}))
    same(found[1], found[0])
    assert all(
        grad.abs().max() > 0 for name, grad in found[0][1].items() if name.startswith("atp.") and "redundant" in name
    )


def test_dropping_inside_a_sharded_decoder(group, make_model, batch):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    found = []
    for is_sharded in (False, True):
        model = make_model()
        if is_sharded:
            mesh = init_device_mesh("cpu", (1,))
            for layer in model.model.language_model.layers:
                fully_shard(layer, mesh=mesh)
            fully_shard(model, mesh=mesh)
        found.append(trained(model, batch, FastV(keep_ratio=0.25, layer=1)))
    same(found[1], found[0])
