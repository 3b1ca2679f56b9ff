"""Selectors: a file's name is the selector's name, the one class in it is the selector."""
