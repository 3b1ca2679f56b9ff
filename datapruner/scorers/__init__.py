"""Scorers: a file's name is the scorer's name, the one class in it is the scorer; what scorers share begins with _."""
