"""Where contexts are pruned for others: RAG frameworks, an HTTP server and its client, agents over MCP."""
