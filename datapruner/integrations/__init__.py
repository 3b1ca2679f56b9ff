"""Scorers and selections inside other data engines; each file imports its package where it is used."""
