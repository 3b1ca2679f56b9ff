"""A model's cache by the name that the installed transformers has for it."""

from __future__ import annotations

from torch import nn

from tokenpruner.models.transformers_api import Cache, cache_argument, cache_of_output


def with_cache(module: nn.Module, cache: object) -> dict[str, object]:
    """The argument that hands `cache` to a model or a layer."""
    return {cache_argument(module): cache}


def cache_from(output: object) -> Cache:
    """The cache that a model's `output` hands back."""
    cache = cache_of_output(output)
    assert cache is not None
    return cache
