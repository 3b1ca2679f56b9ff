"""The training loop, its losses, its state on disk, and what it is validated by."""
