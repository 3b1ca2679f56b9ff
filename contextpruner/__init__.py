"""contextpruner: the sentences that a question needs, cut verbatim out of retrieved documents."""

from contextpruner.calibration import Calibration, Example
from contextpruner.document import Document, SplitDocument
from contextpruner.html_units import split_html
from contextpruner.labeler import Labeler, Labels
from contextpruner.policy import Policy
from contextpruner.pruner import ContextPruner
from contextpruner.result import PrunedDocument, Result, Span
from contextpruner.splitter import split, split_code
from contextpruner.tokens import estimate_tokens
from contextpruner.unit import Unit

__all__ = [
    "Calibration",
    "ContextPruner",
    "Document",
    "Example",
    "Labeler",
    "Labels",
    "Policy",
    "PrunedDocument",
    "Result",
    "Span",
    "SplitDocument",
    "Unit",
    "estimate_tokens",
    "split",
    "split_code",
    "split_html",
]
