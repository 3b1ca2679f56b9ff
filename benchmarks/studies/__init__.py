"""Studies: does a selection train a better model than a draw, on data that everybody has."""
