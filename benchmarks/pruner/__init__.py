"""How the default pruner is made: its base encoder, its recipe."""
