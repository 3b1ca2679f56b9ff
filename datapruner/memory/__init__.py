"""A memory of embeddings that answers by its nearest rows: grown, pruned and unlearned as data."""
