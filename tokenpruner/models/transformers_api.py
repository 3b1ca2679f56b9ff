"""What differs between releases of transformers, known here alone.

A decoder takes its cache as `cache` since 5.24 and as `past_key_values` before; an output hands it back by the same
name. Which of them it is, is read off the modules and the calls, never off the version. A cache that comes under
any other name is refused: no call is pruned whose cache nobody keeps right.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata

from torch import nn
from transformers import AttentionInterface, Cache
from transformers.cache_utils import (
    CacheLayerMixin,
    DynamicIndexedLayer,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
)

__all__ = [
    "CACHE_ARGUMENTS",
    "AttentionInterface",
    "Cache",
    "CacheLayerMixin",
    "DynamicIndexedLayer",
    "DynamicLayer",
    "DynamicSlidingWindowLayer",
    "Kwargs",
    "LinearAttentionAndFullAttentionLayer",
    "LinearAttentionAndSlidingWindowAttentionLayer",
    "attention_override",
    "cache_argument",
    "cache_of",
    "cache_of_output",
    "check_cached",
    "checkpoint_is_reentrant",
    "checkpoint_reruns_hooks",
    "is_checkpointed",
    "looks_up_attention",
    "not_supported",
    "shows_images",
    "supported_releases",
]
# the arguments of a call, by name
Kwargs = dict[str, object]
# what transformers calls a decoder's cache, newest name first
CACHE_ARGUMENTS = ("cache", "past_key_values")
# how the names begin by which models take pictures, videos, and what was made of them before
IMAGE_ARGUMENTS = ("pixel_values", "mm_encoder_outputs", "image_embeds", "image_features", "image_patches", "images")


def cache_argument(module: nn.Module, given: Iterable[str] = ()) -> str:
    """The name by which `module` takes its cache: one that the call has `given`, or one of its forward's own."""
    for names in (given, inspect.signature(type(module).forward).parameters):
        found = [name for name in CACHE_ARGUMENTS if name in names]
        if found:
            return found[0]
    raise ValueError(f"{type(module).__name__} takes no {' or '.join(CACHE_ARGUMENTS)}: {not_supported()}")


def cache_of(kwargs: Mapping[str, object]) -> Cache | None:
    """The cache among the arguments of a call.

    Raises ValueError for one of a kind that transformers does not have, and for one under an unknown name.
    """
    found = None
    for name, value in kwargs.items():
        if name in CACHE_ARGUMENTS and value is not None:
            if not isinstance(value, Cache):
                raise ValueError(f"want {name} to be a transformers Cache, got {type(value).__name__}")
            found = value
        elif name not in CACHE_ARGUMENTS and isinstance(value, Cache):
            got = f"got a {type(value).__name__} as {name}"
            raise ValueError(f"want a decoder's cache as {' or '.join(CACHE_ARGUMENTS)}, {got}: {not_supported()}")
    return found


def cache_of_output(output: object) -> Cache | None:
    """The cache that a model hands back, as an attribute or in a tuple; None where there is none.

    Raises ValueError for one under an unknown name.
    """
    if isinstance(output, Mapping):
        # outputs of transformers are mappings, whose deprecated names say a warning
        return cache_of(output)
    values = output if isinstance(output, tuple | list) else ()
    return next((value for value in values if isinstance(value, Cache)), None)


def check_cached(kwargs: Mapping[str, object], cache: Cache | None, module: nn.Module) -> None:
    """Raise ValueError where `module` was asked for a cache and neither took nor gave one that is known."""
    if kwargs.get("use_cache") is True and cache is None and not is_checkpointed(module):
        names = ", ".join(sorted(name for name, value in kwargs.items() if value is not None))
        kind = type(module).__name__
        raise ValueError(
            f"{kind} was called with use_cache=True and no known cache, but with {names}: {not_supported()}"
        )


def shows_images(module: nn.Module, args: Sequence[object], kwargs: Mapping[str, object]) -> bool:
    """Whether a call of a model, or of its generate(), brings pictures or videos, or features of them."""
    names = [*inspect.signature(type(module).forward).parameters][1:]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return any(name.startswith(IMAGE_ARGUMENTS) and _is_there(value) for name, value in given.items())


def _is_there(value: object) -> bool:
    # features come by their kinds, those that there are none of as None
    return any(part is not None for part in value.values()) if isinstance(value, Mapping) else value is not None


def looks_up_attention(module: nn.Module) -> bool:
    """Whether `module` takes its attention function from transformers' registry."""
    forward = inspect.unwrap(type(module).forward)
    names = getattr(getattr(forward, "__code__", None), "co_names", ())
    return "ALL_ATTENTION_FUNCTIONS" in names and hasattr(module, "config")


def attention_override(name: str) -> dict[str, str]:
    """What in a config's own attributes makes its modules look up the attention function `name`."""
    return {"_attn_implementation_internal": name}


def checkpoint_reruns_hooks(layer: nn.Module) -> bool:
    """Whether gradient checkpointing of `layer` runs its hooks again, behind the pass: older releases wrap the call."""
    is_wrapped = any("__call__" in vars(kind) for kind in type(layer).__mro__ if kind is not nn.Module)
    return is_wrapped and is_checkpointed(layer)


def checkpoint_is_reentrant(layer: nn.Module) -> bool:
    """Whether gradient checkpointing of `layer` runs it without a graph at first."""
    settings = getattr(getattr(layer, "_gradient_checkpointing_func", None), "keywords", {})
    return is_checkpointed(layer) and bool(settings.get("use_reentrant", True))


def supported_releases() -> str:
    """The releases of transformers that are tested, as the requirement that this distribution states."""
    try:
        stated = metadata.requires("prunekit") or []
    except metadata.PackageNotFoundError:
        stated = []
    found = [line.partition(";")[0].strip() for line in stated if line.startswith("transformers")]
    return found[0] if found else "those in docs/compatibility.md"


def not_supported() -> str:
    """The installed release, and which ones are tested."""
    return f"not supported with transformers {metadata.version('transformers')}; tested are {supported_releases()}"


def is_checkpointed(module: nn.Module) -> bool:
    """Whether `module` is computed again in the backward pass."""
    return module.training and bool(getattr(module, "gradient_checkpointing", False))
