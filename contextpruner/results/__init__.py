"""What pruning returns, and what only reads it: citations, a view in a terminal, a page of HTML."""
