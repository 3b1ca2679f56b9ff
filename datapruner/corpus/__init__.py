"""The corpus: rows read in chunks, known by uid and hash, and written as they stood."""
