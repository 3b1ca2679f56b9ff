"""One command for a machine with a GPU: `python -m benchmarks.gpu OUT --limit 420`; merge.py brings its rows home."""
