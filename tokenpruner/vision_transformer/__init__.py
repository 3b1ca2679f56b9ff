"""The engine of methods that choose behind some blocks of a vision transformer."""
