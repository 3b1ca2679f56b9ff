"""contextpruner: the sentences that a question needs, cut verbatim out of retrieved documents."""

from contextpruner.decisions.calibration import Calibration
from contextpruner.decisions.rules import Policy
from contextpruner.decisions.token_counter import estimate_tokens
from contextpruner.documents.cache import DocumentCache
from contextpruner.documents.document import Document
from contextpruner.documents.questions import Example
from contextpruner.labeler import Labeler, Labels
from contextpruner.pruner import ContextPruner
from contextpruner.results.citations import cited, find_citations
from contextpruner.results.result import PrunedDocument, Result, Span
from contextpruner.units.formats.html.units import split_html
from contextpruner.units.split import SplitDocument, split, split_code
from contextpruner.units.unit import Unit
from prunekernels import __version__

__all__ = [
    "Calibration",
    "ContextPruner",
    "Document",
    "DocumentCache",
    "Example",
    "Labeler",
    "Labels",
    "Policy",
    "PrunedDocument",
    "Result",
    "Span",
    "SplitDocument",
    "Unit",
    "__version__",
    "cited",
    "estimate_tokens",
    "find_citations",
    "split",
    "split_code",
    "split_html",
]
