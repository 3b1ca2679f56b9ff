"""One script per claim. A package of its own, since pysbd, one of the peers, brings another of this name."""
