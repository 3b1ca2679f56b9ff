"""HTML: tokens, the tree of elements, what a reader sees of it in blocks, units of the source, and HTML again."""
