"""Scoring: from a corpus to a score table, chunk by chunk; scorers, embedders and engines plug in here."""
