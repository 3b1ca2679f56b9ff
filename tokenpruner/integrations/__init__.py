"""Harnesses that evaluate vision-language models, with pruning around their generate(); imported when asked for."""
