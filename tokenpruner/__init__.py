"""tokenpruner: a vision-language model sees fewer visual tokens, and is left exactly as it was found."""

from tokenpruner.api import prepare, prune
from tokenpruner.block_method import BlockContext, BlockMethod, Reduced
from tokenpruner.kinds import TokenMethod
from tokenpruner.layer_method import LayerContext, LayerMethod, Stage
from tokenpruner.method import Context, Method
from tokenpruner.report import Report

__all__ = [
    "BlockContext",
    "BlockMethod",
    "Context",
    "LayerContext",
    "LayerMethod",
    "Method",
    "Reduced",
    "Report",
    "Stage",
    "TokenMethod",
    "prepare",
    "prune",
]
