"""Does a selection train a better model than a draw: proxies trained at equal steps, compared by their seeds."""
