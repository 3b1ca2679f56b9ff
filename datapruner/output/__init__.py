"""The pruned corpus as a folder: rows kept and dropped, card, recipe and report."""
