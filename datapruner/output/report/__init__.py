"""The report of a selection: one HTML page."""
