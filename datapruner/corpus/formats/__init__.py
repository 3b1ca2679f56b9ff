"""Formats: one a file, each with `read` and `Writer` (see corpus/format.py); what they share begins with _."""
