"""One measure of passage quality a file; the file's name is the measure's name."""
