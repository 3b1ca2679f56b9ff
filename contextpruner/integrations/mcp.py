"""An MCP server for agents: `prune` gives what a question needs of documents, `expand` what was dropped of them.

Kept units stand behind their labels ("[1.2]", document and unit), so that an agent can cite them; `dropped` names the
runs of units that are missing, and `expand` gives them back word for word, by the handle of the result. The same
documents, question and rules have the same handle and the same text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contextpruner.documents.cache import key_of
from contextpruner.integrations.remembered import Remembered
from contextpruner.pruner import ContextPruner
from contextpruner.results.citations import cited
from contextpruner.results.result import PrunedDocument, Result
from prunekernels import __version__
from prunekernels.extras import require

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

MAX_DOCUMENTS, MAX_CHARACTERS = 1000, 20_000_000
# document; document and unit; a run of units of one document
LABEL = re.compile(r"\[?(\d{1,6})(?:\.(\d{1,6})(?:\s*-\s*(?:(\d{1,6})\.)?(\d{1,6}))?)?\]?")
INSTRUCTIONS = (
    "prune cuts documents down to what a question needs, word for word. When what is kept is not enough, "
    "call expand with the handle and the labels under `dropped`."
)


@dataclass
class PrunedText:
    """What the tool `prune` gives: kept text with labels, what is missing, and the handle for `expand`."""

    text: str
    handle: str
    dropped: list[str]
    n_tokens_before: int
    n_tokens_after: int


def mcp_server(pruner: ContextPruner) -> MCPServer:
    """The server; `.run("stdio")` serves the agent that started it."""
    module = require("mcp.server.mcpserver", "mcp")
    server = module.MCPServer("contextpruner", instructions=INSTRUCTIONS, version=__version__)
    agents = Tools(pruner)
    server.tool()(agents.prune)
    server.tool()(agents.expand)
    return server


class Tools:
    """The two tools, and the results that `expand` reads."""

    def __init__(self, pruner: ContextPruner) -> None:
        self.pruner, self.results = pruner, Remembered()

    def prune(
        self,
        question: str,
        documents: list[str],
        max_tokens: int | None = None,
        threshold: float | None = None,
    ) -> PrunedText:
        """Keep the sentences, list items, rows and lines of the documents that the question needs, word for word.

        max_tokens bounds all that is kept; threshold in [0, 1] says how relevant a unit has to be.
        """
        n_characters = sum(map(len, documents))
        if len(documents) > MAX_DOCUMENTS or n_characters > MAX_CHARACTERS:
            most = f"{MAX_DOCUMENTS} documents and {MAX_CHARACTERS} characters"
            raise ValueError(f"want at most {most}, got {len(documents)} and {n_characters}")
        result = self.pruner.prune(question, documents, max_tokens=max_tokens, threshold=threshold)
        handle = key_of([question, repr(result.policy), *documents])[:16]
        self.results.put(handle, result)
        missing = [run for number, one in enumerate(result.documents, 1) for run in _runs(number, one)]
        return PrunedText(cited(result, titles=True), handle, missing, result.n_tokens_before, result.n_tokens_after)

    def expand(self, handle: str, labels: list[str]) -> str:
        """Give back text that prune dropped: by labels such as "1.3", runs such as "1.3-1.7", or "2" for a document."""
        result = self.results.get(handle)
        if result is None:
            raise ValueError(f"want a handle that prune gave, got {handle[:40]!r}; it may be too old: prune again")
        if not labels:
            raise ValueError('want labels such as "1.3", "1.3-1.7" or "2", got none')
        return "\n".join(_expanded(result, label) for label in labels)


def _runs(number: int, document: PrunedDocument) -> Iterator[str]:
    """The runs of dropped units of a document, as labels."""
    first = None
    for place, span in enumerate([*document.spans, None], 1):
        if span is not None and not span.kept:
            first = place if first is None else first
        elif first is not None:
            yield f"{number}.{first}" if first == place - 1 else f"{number}.{first}-{number}.{place - 1}"
            first = None


def _expanded(result: Result, label: str) -> str:
    """All units of `label`, each behind its own, kept ones too."""
    found = LABEL.fullmatch(label.strip())
    if found is None:
        raise ValueError(f'want labels such as "1.3", "1.3-1.7" or "2", got {label[:40]!r}')
    number, first, other, last = (int(part) if part else None for part in found.groups())
    if not number or number > len(result.documents) or other not in (None, number):
        raise ValueError(f"want a document of 1 to {len(result.documents)}, got {label!r}")
    document = result.documents[number - 1]
    places = _places(first, last, len(document.spans), label)
    texts = ((place, document.shown(document.spans[place - 1]).strip()) for place in places)
    return "\n".join(f"[{number}.{place}] {text}" for place, text in texts if text)


def _places(first: int | None, last: int | None, n_units: int, label: str) -> Sequence[int]:
    if first is None:
        return range(1, n_units + 1)
    end = first if last is None else last
    if not 1 <= first <= end <= n_units:
        raise ValueError(f"want units of 1 to {n_units}, got {label!r}")
    return range(first, end + 1)
