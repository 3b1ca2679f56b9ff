"""Selecting: from a score table to which rows are kept, and why the others are not; selectors plug in here."""
