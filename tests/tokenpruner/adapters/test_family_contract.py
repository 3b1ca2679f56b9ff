"""What every family promises: what enters its decoder is known, and what a report tells of it is true or unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.tokenpruner.adapters import families
from tests.tokenpruner.adapters.family_checks import close, fed
from tests.tokenpruner.adapters.family_inputs import Feed, Tensors
from tests.tokenpruner.caches import cache_from
from tokenpruner import prune
from tokenpruner.decoder.backbone_inputs import KNOWN
from tokenpruner.decoder.packed_rows import samples_of
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.stride import Stride
from tokenpruner.models import adapter
from tokenpruner.models.decoder_layers import DecoderLayers
from tokenpruner.models.transformers_api import CACHE_ARGUMENTS

each = pytest.mark.parametrize("name", families.params())
METHOD = Stride(keep_ratio=0.25)
# their layers do more than attention and linear layers: recurrences, indices, attention of their own, experts by kind
UNKNOWN_COSTS = {
    *("ernie4_5_vl_moe", "glm5_next", "hy_v4_vl", "inkling2", "inkling2_loop", "minicpm_ocr", "minicpmv4_6"),
    *("minicpmv4_7", "mistral_large4", "nemotron_h_omni", "qwen3_5", "qwen3_5_moe"),
}


@contextmanager
def hooked(module: nn.Module, hook: Callable[..., object]) -> Iterator[None]:
    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@each
def test_what_enters_is_known(name):
    """Every tensor that comes to the backbone is of a name that is cut; one of another name is refused."""
    feed, seen = fed(name), set()
    inputs, backbone = feed.encode([[2, "I", 3]]), adapter.find(feed.model).backbone

    def note(module, args, kwargs):
        assert not args
        seen.update(key for key, value in kwargs.items() if tensors(value))

    with hooked(backbone, note), torch.no_grad():
        feed.model.generate(**inputs, max_new_tokens=1)
    assert seen <= {*KNOWN, *CACHE_ARGUMENTS}

    def add(module, args, kwargs):
        return args, kwargs | {"mystery": [torch.zeros(inputs["input_ids"].shape[1])]}

    with hooked(backbone, add), prune(feed.model, METHOD), pytest.raises(ValueError, match="also takes mystery"):
        feed.model(**inputs)


def tensors(value: object) -> bool:
    """Whether there is a tensor in `value` that is more than a number."""
    if isinstance(value, torch.Tensor):
        return value.ndim > 0
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(tensors(part) for part in parts)


@contextmanager
def counted_in_full(model: nn.Module) -> Iterator[None]:
    """Attention and experts in a form of which torch's counter sees every product."""
    configs = {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}
    found = [(config, key) for config in configs.values() for key in PLAIN if getattr(config, key, None) is not None]
    before = [getattr(config, key) for config, key in found]
    for config, key in found:
        setattr(config, key, "eager")
    try:
        yield
    finally:
        for (config, key), value in zip(found, before, strict=True):
            setattr(config, key, value)


PLAIN = ("_attn_implementation", "_experts_implementation")


def run(feed: Feed, inputs: Tensors) -> tuple[int, int]:
    """FLOPs of the decoder layers of one pass, and the bytes of the cache that it leaves."""
    backbone = adapter.find(feed.model).backbone
    names = {module: path for path, module in feed.model.named_modules()}
    with FlopCounterMode(display=False) as counter:
        output = feed.model(**inputs, use_cache=True)
    counts, root = counter.get_flop_counts(), type(feed.model).__name__
    layers = DecoderLayers.of(backbone).modules
    flops = sum(sum(counts.get(f"{root}.{names[layer]}", {}).values()) for layer in layers)
    held = 0
    for layer in cache_from(output).layers:
        for value in vars(layer).values():
            parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            held += sum(part.nbytes for part in parts if isinstance(part, torch.Tensor) and part.ndim)
    return flops, held


@each
def test_the_report_is_true(name):
    """FLOPs within 1 % of torch's counter, or unknown; bytes those of the real cache; of all tokens and of fewer."""
    feed = fed(name)
    inputs = feed.encode([[12, "I", 3]])
    with counted_in_full(feed.model):
        before = run(feed, inputs)
        with prune(feed.model, METHOD) as report:
            after = run(feed, inputs)
    assert (report.kv_bytes_before, report.kv_bytes_after) == (before[1], after[1])
    if name in UNKNOWN_COSTS:
        assert (report.flops_before, report.flops_after) == (None, None)
        return
    assert report.flops_before == pytest.approx(before[0], rel=0.01)
    assert report.flops_after == pytest.approx(after[0], rel=0.01)


# one of each structure
@pytest.mark.parametrize(
    "name",
    [
        *families.params(["gemma3", "idefics3", "internvl", "llava", "qwen2_5_vl", "qwen3_5", "qwen3_vl"]),
        # in older releases its packed samples see each other without pruning, too
        pytest.param("paligemma", marks=pytest.mark.newest),
    ],
)
@torch.no_grad()
def test_packed_rows_or_a_refusal(name):
    """Two samples in one row come out as they do alone, or are refused before anything runs."""
    feed = fed(name)
    samples = [feed.encode([row], seed=number) for number, row in enumerate(([2, "I", 3], [4, "I", 6]))]
    where = []

    def note(module, args, kwargs):
        where.append(kwargs.get("position_ids"))

    alone = []
    with hooked(adapter.find(feed.model).backbone, note), prune(feed.model, DivPrune(0.25)):
        for one in samples:
            own = {key: value for key, value in one.items() if key != "attention_mask"}
            alone.append(feed.model(**own, use_cache=False).logits)
    by_token = samples[0]["input_ids"].shape
    whole = {
        key: torch.cat([one[key] for one in samples], 1 if value.shape == by_token else 0)
        for key, value in samples[0].items()
        if key != "attention_mask"
    }
    whole["position_ids"] = torch.cat(
        [
            torch.arange(one["input_ids"].shape[1])[None] if own is None else own
            for own, one in zip(where, samples, strict=True)
        ],
        -1,
    )
    assert samples_of(whole["position_ids"], None, False) is not None
    try:
        with prune(feed.model, DivPrune(0.25)) as report:
            got = feed.model(**whole, use_cache=False).logits
    except ValueError as error:
        assert "packed row" in str(error)  # noqa: PT017
        assert not report.prefills
        return
    close(got, torch.cat(alone, 1))
