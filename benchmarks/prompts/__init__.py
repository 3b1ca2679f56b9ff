"""Searches for shorter prompts, side by side."""
