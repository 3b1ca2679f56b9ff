"""tokenpruner: a vision-language model sees fewer visual tokens, and is left exactly as it was found."""

from tokenpruner.api import prepare, prune
from tokenpruner.kinds import TokenMethod
from tokenpruner.layer_method import LayerContext, LayerMethod, Stage
from tokenpruner.method import Context, Method
from tokenpruner.report import Report

__all__ = [
    "Context",
    "LayerContext",
    "LayerMethod",
    "Method",
    "Report",
    "Stage",
    "TokenMethod",
    "prepare",
    "prune",
]
