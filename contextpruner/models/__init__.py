"""Models, and text as they read it: checkpoints, tokens, windows, rows and batches."""
