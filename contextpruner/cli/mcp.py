"""`contextpruner mcp`: the tools `prune` and `expand` for an agent, over standard input and output."""

from __future__ import annotations

from contextpruner.cli import options
from contextpruner.cli.errors import clear_errors
from contextpruner.documents.cache import DocumentCache
from contextpruner.pruner import ContextPruner


def mcp(labeler: options.DefaultLabelerText = None, splitter: options.SplitterText = "rules") -> None:
    """Serve the tools prune and expand to an agent over stdio, as MCP; see docs/serving.md."""
    with clear_errors():
        from contextpruner.integrations.mcp import mcp_server

        mcp_server(ContextPruner(labeler, splitter=splitter, cache=DocumentCache())).run("stdio")
