"""One way to cut prose into sentences a file; the file's name is the splitter's name."""
