"""Pruned prompts as a causal language model reads them: answers behind a shared prefix, and the task of a prompt."""
