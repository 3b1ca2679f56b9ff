"""Examples as rows of tokens in safetensors shards, and batches of them by length."""
