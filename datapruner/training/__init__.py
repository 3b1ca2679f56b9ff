"""What happens while a model is trained: records of each row's course, subsets and weights that change by the epoch."""
