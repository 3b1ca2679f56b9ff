"""Training a pruner: examples from question sets, packed tensors, a student, a trainer, and what it is judged by."""
