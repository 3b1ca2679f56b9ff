"""One reader for each format that is more than plain prose."""
