"""Pruning a wrapped model: DDP and sharded parameters (FSDP2), in a group of one process."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from tokenpruner import prune
from tokenpruner.methods.divprune import DivPrune

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


def trained(model, batch):
    """The loss, and by parameter its gradient."""
    model.train()
    with prune(model, METHOD):
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
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for layer in model.model.language_model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    same(trained(model, batch), wanted)
