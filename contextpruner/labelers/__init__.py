"""One labeler a file; the file's name is the labeler's name."""
