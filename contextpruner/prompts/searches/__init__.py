"""One way to search for a pruned prompt a file; the file's name is the search's name."""
