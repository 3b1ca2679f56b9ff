"""Tokens that leave inside the vision tower of a language model: the decoder gets those that are left."""
