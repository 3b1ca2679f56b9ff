"""Embedders: a file's name is the embedder's name, the one class in it is the embedder."""
