"""Jobs of benchmarks/datapruner.py: each makes its input, and what we and our peers make of it. A file a kind."""
