"""What comes under a name that is not known is refused, on whichever release of transformers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPast

from tests.tokenpruner.caches import cache_from, with_cache
from tokenpruner import prune
from tokenpruner.decoder.backbone_inputs import per_token
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.models.transformers_api import (
    CACHE_ARGUMENTS,
    cache_argument,
    cache_of,
    cache_of_output,
    supported_releases,
)

METHODS = [DivPrune(keep_ratio=0.25), FastV(keep_ratio=0.25, layer=1)]
RELEASES = r"not supported with transformers 5\.\d+\.\d+.*; tested are .*transformers"


class OtherBackbone(nn.Module):
    """A text backbone of some later release: its cache has another name, or leaves by no known way."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.config = inner, inner.config

    def get_input_embeddings(self) -> nn.Module:
        return self.inner.get_input_embeddings()

    def forward(self, kv_store: object = None, **kwargs: object) -> BaseModelOutputWithPast:
        out = self.inner(**kwargs, **({} if kv_store is None else with_cache(self.inner, kv_store)))
        return BaseModelOutputWithPast(last_hidden_state=out.last_hidden_state)


def renamed(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """Hands on the cache under a name that nobody knows."""
    store = next((kwargs[name] for name in CACHE_ARGUMENTS if name in kwargs), None)
    return args, {name: value for name, value in kwargs.items() if name not in CACHE_ARGUMENTS} | {"kv_store": store}


def other(model: nn.Module, *, hook: bool) -> nn.Module:
    model.model.language_model = OtherBackbone(model.model.language_model)
    if hook:
        model.model.language_model.register_forward_pre_hook(renamed, with_kwargs=True)
    return model


@pytest.mark.parametrize("method", METHODS)
def test_a_cache_under_a_made_up_name_is_refused(model, prompt, method):
    model, inputs = other(model, hook=True), prompt([[2, "I", 3], [4]])
    wanted = f"got a DynamicCache as kv_store: {RELEASES}"
    with prune(model, method), pytest.raises(ValueError, match=wanted):
        model.generate(**inputs, max_new_tokens=2, do_sample=False)
    with prune(model, method), pytest.raises(ValueError, match=wanted):
        model(**inputs, **with_cache(model, DynamicCache()))


@pytest.mark.parametrize("method", METHODS)
def test_caching_without_a_cache_that_is_known_is_refused(model, prompt, method):
    model, inputs = other(model, hook=False), prompt([[2, "I", 3], [4]])
    wanted = f"OtherBackbone was called with use_cache=True and no known cache, but with .*inputs_embeds.*: {RELEASES}"
    with prune(model, method), pytest.raises(ValueError, match=wanted):
        model(**inputs, use_cache=True)
    # nobody asked for a cache
    with prune(model, method), torch.no_grad():
        assert model(**inputs, use_cache=False).logits.shape[1] < inputs["input_ids"].shape[1]


def test_a_cache_of_another_kind_is_refused(model, prompt):
    legacy = ((torch.zeros(1, 2, 3, 8), torch.zeros(1, 2, 3, 8)),)
    with prune(model, DivPrune()), pytest.raises(ValueError, match="to be a transformers Cache, got tuple"):
        model.model.language_model(inputs_embeds=torch.zeros(1, 2, 32), **with_cache(model, legacy))


def test_a_cache_in_a_tuple_is_pruned_too(model, prompt):
    inputs, more = prompt([[2, "I", 3]]), torch.tensor([[7]])
    with prune(model, DivPrune(keep_ratio=0.25)), torch.no_grad():
        wanted = cache_from(model(**inputs))
        got = cache_of_output(model(**inputs, return_dict=False))
        assert [layer.get_seq_length() for layer in got.layers] == [inputs["input_ids"].shape[1]] * 3
        logits = [model(input_ids=more, **with_cache(model, cache)).logits for cache in (wanted, got)]
    assert torch.equal(*logits)


@pytest.mark.parametrize("made", [lambda shape: torch.zeros(3, *shape), lambda shape: (torch.zeros(*shape, 2),)])
@pytest.mark.parametrize("method", METHODS)
def test_what_goes_along_with_each_token_is_known_or_refused(model, prompt, method, made):
    inputs = prompt([[2, "I", 3], [4]])

    def along(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        return args, kwargs | {"segments": made(inputs["input_ids"].shape)}

    model.model.language_model.register_forward_pre_hook(along, with_kwargs=True)
    with prune(model, method), pytest.raises(ValueError, match=rf"also takes segments \[.*\], of which .*: {RELEASES}"):
        model(**inputs)


def test_per_token():
    shape = (2, 7)
    for sizes in ([2, 7], [3, 2, 7], [2, 7, 5], [1, 7], [3, 1, 7], [7]):
        assert per_token({"a": [torch.zeros(sizes)]}, shape) is not None, sizes
    for sizes in ([], [2], [7, 2], [3, 7], [14], [2, 5, 7]):
        assert per_token((torch.zeros(sizes), None, "text"), shape) is None, sizes


def test_the_name_of_the_cache_is_read_off_the_module():
    class Newer(nn.Module):
        def forward(self, hidden_states: torch.Tensor, cache: object = None) -> None: ...

    class Older(nn.Module):
        def forward(self, hidden_states: torch.Tensor, past_key_values: object = None) -> None: ...

    assert cache_argument(Newer()) == "cache"
    assert cache_argument(Older()) == "past_key_values"
    assert cache_argument(Newer(), ["past_key_values"]) == "past_key_values"
    with pytest.raises(ValueError, match=f"Linear takes no cache or past_key_values: {RELEASES}"):
        cache_argument(nn.Linear(1, 1))
    assert cache_of({"cache": None, "past_key_values": None}) is None
    assert supported_releases().startswith("transformers")
