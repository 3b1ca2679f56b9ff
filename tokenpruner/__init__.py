"""tokenpruner: a vision-language model sees fewer visual tokens, and is left exactly as it was found."""

from __future__ import annotations

import importlib
import pkgutil

from prunekernels import __version__
from tokenpruner.api import prepare, prune
from tokenpruner.base.before_decoder import Choice, Context, Merge, Method, Need
from tokenpruner.base.before_tower import PixelMethod
from tokenpruner.base.inside_decoder import LayerContext, LayerMethod, Stage
from tokenpruner.base.token_method import TokenMethod
from tokenpruner.base.vision_transformer import BlockContext, BlockMethod, Reduced
from tokenpruner.models.page_embeddings import PooledPages, pool_embeddings
from tokenpruner.report.records import Report

__all__ = [
    "BlockContext",
    "BlockMethod",
    "Choice",
    "Context",
    "LayerContext",
    "LayerMethod",
    "Merge",
    "Method",
    "Need",
    "PixelMethod",
    "PooledPages",
    "Reduced",
    "Report",
    "Stage",
    "TokenMethod",
    "__version__",
    "pool_embeddings",
    "prepare",
    "prune",
]


def __getattr__(name: str) -> type[TokenMethod]:
    """`tokenpruner.DivPrune` and all others of `tokenpruner.methods`: a file of their name, loaded when asked for."""
    folder = importlib.import_module(f"{__name__}.methods")
    wanted = name.lower()
    for found in pkgutil.iter_modules(folder.__path__):
        if found.name.replace("_", "") == wanted and not name.islower():
            kind = getattr(importlib.import_module(f"{folder.__name__}.{found.name}"), name, None)
            if isinstance(kind, type) and issubclass(kind, TokenMethod):
                return kind
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
