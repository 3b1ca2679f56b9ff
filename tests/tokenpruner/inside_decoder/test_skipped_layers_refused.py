"""Layers that cannot be skipped, modes, batches and routers that do not fit are refused by name."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.tokenpruner.checkpointing import checkpoint
from tests.tokenpruner.inside_decoder.conftest import MIXED
from tokenpruner import prune
from tokenpruner.methods._flow_router import FlowRouter
from tokenpruner.methods.flows import Flows


def test_layers_that_cannot_be_skipped_are_named(model, prompt):
    class Other(type(model.model.language_model.layers[2])):
        """A layer of another kind."""

    layers = model.model.language_model.layers
    layers[2].__class__ = Other
    with pytest.raises(ValueError, match="layer 2, Other, cannot be skipped: it is of another kind than the first"):
        prune(model, Flows(("2:skip",))).__enter__()
    layers[2].__class__ = type(layers[1])
    layers[2].self_attn.indexer = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="layer 2, LlamaDecoderLayer, cannot be skipped: it keeps an index"):
        prune(model, Flows(("2:skip",))).__enter__()
    attention, layers[2].self_attn = layers[2].self_attn, torch.nn.Identity()
    with pytest.raises(ValueError, match="layer 2, LlamaDecoderLayer, cannot be skipped: it has no attention"):
        prune(model, Flows(("2:skip",))).__enter__()
    layers[2].self_attn = attention
    del layers[2].self_attn.indexer
    layers[2].A_log = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(ValueError, match="layer 2, LlamaDecoderLayer, cannot be skipped: it keeps a state"):
        prune(model, Flows(("2:skip",))).__enter__()
    del layers[2].A_log
    layers[2].self_attn.is_kv_shared_layer = True
    with pytest.raises(ValueError, match="layer 2, LlamaDecoderLayer, reads the keys of an earlier layer"):
        prune(model, Flows(("1:skip",))).__enter__()
    del layers[2].self_attn.is_kv_shared_layer
    checkpoint(model, use_reentrant=False)
    model.train()
    with prune(model, Flows(("2:skip",))), pytest.raises(ValueError, match="layer 2, .*computed again|hooks again"):
        model(**prompt([[2, "I", 3]]), use_cache=False)


@pytest.mark.parametrize("mode", ["skip", "route"])
def test_other_modes_are_refused(model, mode):
    with pytest.raises(ValueError, match='want mode="drop" where layers are skipped'):
        prune(model, Flows(mode=mode)).__enter__()


def test_refusals(model, prompt, routed):
    method, _ = routed
    with pytest.raises(ValueError, match="by itself, which skips layers, got a chain of 2"):
        prune(model, ["stride", "flows"])
    row = prompt([["I", 3, "I", 2]])
    places = torch.tensor([[*range(19), *range(18)]])
    packed = {"input_ids": row["input_ids"], "pixel_values": row["pixel_values"], "position_ids": places}
    with prune(model, method), pytest.raises(ValueError, match="want one sample a row"):
        model(**packed, use_cache=False)
    wrong = dataclasses.replace(method, weights="nowhere")
    with pytest.raises(ValueError, match="want weights that FlowRouter.save wrote, got 'nowhere'"):
        prune(model, wrong).__enter__()


def test_a_router_for_other_hidden_states_is_refused(model, prompt, tmp_path):
    FlowRouter(MIXED, 12).save(tmp_path)
    with prune(model, Flows(weights=str(tmp_path))), pytest.raises(ValueError, match="want a router for 96 numbers"):
        model(**prompt([[2, "I", 3]]))
