"""The methods that choose visual tokens: one file each, the file's name is the method's name."""
