"""Engines: a file's name is the engine's name, the one class in it is the engine."""
