"""Cuts inside the decoders of many families: each layer called by hand with its arguments cut by hand."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from tests.tokenpruner.adapters import families, known_families
from tests.tokenpruner.adapters.family_checks import CLOSE, RAGGED, close, fed, generate, singles, unless_odd
from tests.tokenpruner.adapters.family_inputs import feed_of
from tokenpruner import prune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop
from tokenpruner.models import adapter
from tokenpruner.models.decoder_layers import DecoderLayers

# one of each structure
SOME = [
    *("aya_vision", "gemma3", "gemma4", "glm4v", "idefics3", "internvl", "lfm3_vl", "llama4", "llava", "mistral3"),
    *("mistral_large4", "paligemma", "qwen2_5_vl", "qwen3_5", "qwen3_vl", "step3p7"),
]
NAMES = families.params(SOME)
METHOD = FastV(keep_ratio=0.25, layer=1)
# decoders whose first layer is not one of attention
OWN = {"lfm3_vl": FastV(keep_ratio=0.25, layer=2), "qwen3_5": PyramidDrop(keep_ratio=0.25, n_stages=2)}


def cutting(name, feed):
    """What is cut in this family's decoder; skips with the reason where it is refused."""
    method = OWN.get(name, METHOD)
    try:
        with prune(feed.model, method):
            return method
    except ValueError as error:
        pytest.skip(f"refused: {error}")


class Watch:
    """What each decoder layer is given, and what the backbone gives back."""

    def __init__(self, model):
        self.backbone = adapter.find(model).backbone
        self.layers = DecoderLayers.of(self.backbone).modules
        self.calls, self.outputs, self.hidden, self.kwargs = [], [], None, {}

    def __enter__(self):
        self.handles = [layer.register_forward_hook(self.note, with_kwargs=True) for layer in self.layers]
        self.handles.append(self.backbone.register_forward_hook(self.end, with_kwargs=True))
        return self

    def note(self, module, args, kwargs, output):
        self.calls.append((args, dict(kwargs)))
        self.outputs.append(output)

    def end(self, module, args, kwargs, output):
        self.hidden, self.kwargs = output.last_hidden_state, kwargs

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()


def cut_by_shape(value, kept, length):
    """`value` with every dimension of `length` cut to the columns `kept`."""
    if isinstance(value, tuple | list):
        return type(value)(cut_by_shape(part, kept, length) for part in value)
    if isinstance(value, torch.Tensor):
        for dimension in range(value.ndim):
            if value.shape[dimension] == length:
                value = value.index_select(dimension, kept)
    return value


def explicit(mask, kept, length, window, like):
    """A mask to add, [1, 1, P, P]: what `mask` says of the kept tokens, or causality, with the window counted anew."""
    n_kept = len(kept)
    causal = torch.ones(n_kept, n_kept).tril().bool()
    seen = causal
    if isinstance(mask, torch.Tensor) and mask.ndim == 4:
        given = cut_by_shape(mask, kept, length)[0, 0]
        seen = given if given.dtype == torch.bool else given == 0
    if window is not None:
        seen = (causal & ~causal.tril(-window)) | (seen & ~causal) | (seen & seen.T)
    return torch.zeros(1, 1, n_kept, n_kept).masked_fill(~seen, torch.finfo(like.dtype).min)


@torch.no_grad()
def by_hand(model, token, inputs, method):
    """Hidden states of one row as its layers make them when called one after another, and as `prune` has them."""
    with Watch(model) as plain:
        model(**inputs, use_cache=False)
    with Watch(model) as pruned, prune(model, method) as report:
        model(**inputs, use_cache=False)
    length = inputs["input_ids"].shape[1]
    stays = torch.ones(length, dtype=torch.bool)
    for image in report.images:
        stays[list(image.columns)] = False
        stays[[image.columns[pick] for pick in image.kept]] = True
    kept = stays.nonzero().flatten()
    assert len(kept) < length
    visual = inputs["input_ids"][0] == token
    planes = plain.kwargs.get("deepstack_visual_embeds") or ()
    first = method.stages(len(plain.layers))[0].layer
    config, hidden = plain.backbone.config, plain.outputs[first - 1]
    if first <= len(planes):
        hidden = hidden.clone()
        hidden[0, visual] += planes[first - 1]
    hidden = hidden[:, kept]
    for number in range(first, len(plain.layers)):
        args, kwargs = plain.calls[number]
        kwargs = {name: cut_by_shape(value, kept, length) for name, value in kwargs.items()}
        kinds = getattr(config, "layer_types", None)
        slides = kinds is None or kinds[number] == "sliding_attention"
        window = getattr(config, "sliding_window", None) if slides else None
        mask = plain.calls[number][1].get("attention_mask")
        kwargs["attention_mask"] = explicit(mask, kept, length, window, hidden)
        hidden = plain.layers[number](hidden, *cut_by_shape(args[1:], kept, length), **kwargs)
        if number < len(planes):
            hidden = hidden.clone()
            hidden[0, visual[kept]] += cut_by_shape(
                planes[number], (visual.cumsum(0) - 1)[kept[visual[kept]]], int(visual.sum())
            )
    ends = [getattr(plain.backbone, name) for name in ("norm", "embedding_norm") if hasattr(plain.backbone, name)]
    return ends[0](hidden), pruned.hidden


@pytest.mark.parametrize("name", NAMES)
def test_the_last_tokens_attention_is_what_eager_attention_says(name):
    feed = fed(name)
    method, inputs = cutting(name, feed), feed.encode([[2, "I", 3]])
    backbone = adapter.find(feed.model).backbone
    config, reads = backbone.config, method.stages(len(DecoderLayers.of(backbone).modules))[0].reads
    was = config._attn_implementation
    try:
        config._attn_implementation = "eager"
        with torch.no_grad():
            told = feed.model(**copy.copy(inputs), output_attentions=True, use_cache=False).attentions
    finally:
        config._attn_implementation = was
    # one entry a layer of attention, or one a layer
    place = reads if len(told) == len(DecoderLayers.of(backbone).modules) else 0
    received = told[place][0, :, -1].mean(0)
    with torch.no_grad(), prune(feed.model, method) as report:
        feed.model(**copy.copy(inputs))
    for image in report.images:
        own = received[list(image.columns)]
        lowest = own[list(image.kept)].min()
        gone = [place for place in range(image.size) if place not in image.kept]
        assert lowest >= own[gone].max() - 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_the_layers_by_hand(name):
    feed = fed(name)
    method = replace(cutting(name, feed), positions="keep")
    wanted, got = by_hand(feed.model, feed.token, feed.encode([[2, "I", 3]]), method)
    torch.testing.assert_close(got, wanted, **CLOSE)


@pytest.mark.parametrize("name", NAMES)
def test_padded_generation_equals_singles(name):
    feed = fed(name)
    method, inputs = cutting(name, feed), feed.encode(RAGGED)
    rows = singles(feed, RAGGED, inputs)

    def batched():
        together = generate(feed.model, inputs)
        for number, alone in enumerate(rows):
            close(together[number], generate(feed.model, alone)[0])

    unless_odd(name, known_families.ROWS, batched)
    with prune(feed.model, method):
        batched()


@pytest.mark.parametrize("name", NAMES)
def test_cached_equals_uncached(name):
    feed = fed(name)
    method, inputs = cutting(name, feed), feed.encode([[2, "I", 3]])

    def both():
        close(generate(feed.model, inputs), generate(feed.model, inputs, use_cache=False))

    unless_odd(name, known_families.CACHE, both)
    with prune(feed.model, method):
        both()


def test_sliding_layers_behind_a_cut(monkeypatch):
    """Gemma 3 with its layers the other way round: windows and blocks that see each other both ways, cut."""
    kinds = ["full_attention", "sliding_attention"]
    monkeypatch.setitem(families.OWN, "gemma3", families.Own({"text_config.layer_types": kinds}))
    feed = feed_of(families.build("gemma3"))
    rows = [[6, "I", 9], [4], [3, "I", 2]]
    inputs = feed.encode(rows)
    method = FastV(keep_ratio=0.75, layer=1, positions="keep")
    wanted, got = by_hand(feed.model, feed.token, feed.encode(rows[:1]), method)
    torch.testing.assert_close(got, wanted, **CLOSE)
    with prune(feed.model, method):
        together = generate(feed.model, inputs)
        close(together, generate(feed.model, inputs, use_cache=False))
        for number, alone in enumerate(singles(feed, rows, inputs)):
            close(together[number], generate(feed.model, alone)[0])
