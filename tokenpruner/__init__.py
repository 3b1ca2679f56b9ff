"""tokenpruner: a vision-language model sees fewer visual tokens, and is left exactly as it was found."""

from tokenpruner.api import prepare, prune
from tokenpruner.base.before_decoder import Context, Merge, Method, Need
from tokenpruner.base.inside_decoder import LayerContext, LayerMethod, Stage
from tokenpruner.base.token_method import TokenMethod
from tokenpruner.base.vision_transformer import BlockContext, BlockMethod, Reduced
from tokenpruner.report.records import Report

__all__ = [
    "BlockContext",
    "BlockMethod",
    "Context",
    "LayerContext",
    "LayerMethod",
    "Merge",
    "Method",
    "Need",
    "Reduced",
    "Report",
    "Stage",
    "TokenMethod",
    "prepare",
    "prune",
]
